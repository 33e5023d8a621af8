"""Who asks, and what that principal may use: the outcome of authentication, whatever its kind."""

from dataclasses import dataclass
from pathlib import Path

from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Effect, Group

LOCAL = "local"
"""The principal of a server that speaks with the one who started it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What one principal may use of a server. The scope of every key is its principal."""

    principal: str = LOCAL
    """A token's name as `token:NAME`, an OAuth subject as `ISSUER#SUBJECT`, or `local`."""
    groups: frozenset[Group] = frozenset(Group)
    """Groups of tools that it may call."""
    writes: frozenset[Group] = frozenset(Group)
    """Of them, the groups of which it may call tools with effects, too."""
    roots: tuple[Path, ...] | None = None
    """Of the server's roots, those that it may use, or folders inside of them; None: all."""

    def refusal(self, tool: AnyTool) -> Error | None:
        """Why this principal may not call a tool, or None."""
        if tool.group not in self.groups:
            return _denied(f"{tool.name} belongs to the tools '{tool.group}', which are not yours")
        if tool.effect is not Effect.SAFE and tool.group not in self.writes:
            return _denied(f"{tool.name} has effects, and you may only read")
        return None


def _denied(message: str) -> Error:
    hint = "Use another tool, or ask whoever runs this server for a token with more scopes."
    return Error(Code.PERMISSION_DENIED, Origin.POLICY, Applied.NO, message, hint=hint)


EVERYTHING = Access()
"""The access of the one who started the server."""
