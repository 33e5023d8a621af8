"""What is allowed and how often; the sandbox is the mechanism, this is the rule."""

from dataclasses import dataclass, field

from surefoot_server.config import Retention
from surefoot_tools.commandline.rules import Action, Judgement, Rules
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Effect

DENIED_HINT = "Do not put it in other words: tell the person, who can change the rules."
UNCLEAR_HINT = (
    "Write a command whose text tells which programs run: their names as they are, without"
    " variables, and scripts as files."
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that the person who started the server set; no tool changes them."""

    read_only: bool = False
    """Refuse every tool with an effect."""
    attempts: int = 4
    """Attempts of one call in all."""
    join_wait: float = 45.0
    """Seconds that a second request with the same key waits for the first one's end."""
    grace: float = 30.0
    """Seconds that a call whose connection or whose server is gone is kept for its key."""
    doubt: float = 900.0
    """Seconds for which an answer that was not delivered keeps an equal call without a key from
    running blindly."""
    retention: Retention = field(default_factory=Retention)
    """How long results and keys are kept."""
    commands: Rules | None = None
    """Rules about commands; None: there are none."""

    def judge(self, tool: AnyTool, arguments: Arguments) -> Judgement | None:
        """What the rules say of the command that a call would run; None: nothing speaks of it."""
        command = None if self.commands is None else tool.command(arguments)
        if self.commands is None or command is None:
            return None
        return self.commands.judge(command)

    def _denial(self, tool: AnyTool, arguments: Arguments) -> Error | None:
        """Why the command that a call would run is denied, or None."""
        said = self.judge(tool, arguments)
        if said is None or said.action is not Action.DENY:
            return None
        return Error(
            Code.PERMISSION_DENIED,
            Origin.POLICY,
            Applied.NO,
            f"this server's rules deny it: {said.told}",
            hint=UNCLEAR_HINT if said.unclear else DENIED_HINT,
        )

    def refusal(self, tool: AnyTool, arguments: Arguments | None = None) -> Error | None:
        """Why this tool may not be called, with these arguments or any; or None."""
        if self.read_only and tool.effect is not Effect.SAFE:
            return Error(
                Code.PERMISSION_DENIED,
                Origin.POLICY,
                Applied.NO,
                f"{tool.name} has effects and this server was started with --read-only",
                hint="Use a tool that only reads, or start the server without --read-only.",
            )
        return None if arguments is None else self._denial(tool, arguments)
