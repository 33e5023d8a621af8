"""The seam of a tool: typed arguments in, typed result out, and what recovery needs in between.

A new tool is one new file that subclasses `Tool`. The executor (`surefoot_server.executor`) calls
`prepare`, `run` and, after a crash or a cancellation, `recover`; it knows nothing else of a tool.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from surefoot_tools.errors import ToolError
from surefoot_tools.jobs import JobEnd, JobRecords

Evidence = dict[str, Any]
"""What recovery will need, as JSON, taken before the effect (hashes, temporary names, keys)."""

PLACE = "place"
"""The name in the evidence of a verifiable tool for the thing that it changes, or a list of them.
Before anything else changes that thing, or what lies in it, calls on it that a dead server left
open are looked at: their traces would be gone afterwards."""


def meet(one: Evidence, other: Evidence) -> bool:
    """Whether two calls change the same thing, or one changes what the other's thing lies in."""
    return any(
        f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/")
        for a in _places(one)
        for b in _places(other)
    )


def _places(evidence: Evidence) -> list[str]:
    found: str | list[str] = evidence.get(PLACE, [])
    return [found] if isinstance(found, str) else found


Report = Callable[[float, float | None, str], Awaitable[None]]
"""Reports progress: units done, units in all or None, a line of text."""


async def report_nothing(_done: float, _total: float | None, _line: str) -> None:
    """The `Report` of a caller that did not ask for progress."""


class Effect(StrEnum):
    """What a tool does to the world; declared by the tool, never by the model."""

    SAFE = "safe"
    """No effect asked for. Source: RFC 9110, section 9.2.1."""
    IDEMPOTENT = "idempotent"
    """Twice is the same as once, whatever happened between. Source: RFC 9110, section 9.2.2."""
    VERIFIABLE = "verifiable"
    """The state tells whether it happened: a file's hash before and after."""
    TRANSACTIONAL = "transactional"
    """The effect and the record of it commit together."""
    AT_MOST_ONCE = "at_most_once"
    """Nothing of that: a shell command."""


class Group(StrEnum):
    """The groups that `--tools` chooses from."""

    SHELL = "shell"
    FILES = "files"
    DATABASE = "database"
    ACCOUNTING = "accounting"
    OTHERS = "others"
    """Tools of a server that is not ours."""


class Arguments(BaseModel):
    """Base of every tool's arguments: extra ones are refused by name, types are not coerced."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Result(BaseModel, ABC):
    """Base of every tool's result: structured, and as text for the model to read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @abstractmethod
    def as_text(self) -> str:
        """The result for the model: short, complete, and how to get the rest."""


@dataclass(slots=True)
class Context:
    """What the executor lends to one attempt. Times are seconds of anyio's clock."""

    call_id: str
    """Names this call in names on disk (temporary files, job folders): 32 hexadecimal digits."""
    effect_key: str
    """Names the intent in the target's own books (the inbox row of a database)."""
    deadline: float
    """When the caller stops waiting; `math.inf` for never."""
    principal: str = "local"
    """Who asks: a tool that tells of calls tells of this principal's alone. `local` is the one who
    started the server, and may see all."""
    report: Report = report_nothing
    held: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What `prepare` enters here (a lock on a path) is held until the outcome is recorded."""
    recorded: bool = False
    """Set once the outcome is committed, before `held` is given back: only then may a tool drop
    what recovery would need."""
    interrupted: ToolError | None = None
    """Set by a tool that was cancelled and knows what became of its effect, before re-raising."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Recovery found that the effect happened."""

    result: Result


@dataclass(frozen=True, slots=True)
class NotBegun:
    """Recovery found that the effect did not happen, and cannot happen any more by itself."""


@dataclass(frozen=True, slots=True)
class Running:
    """Recovery found the effect still going on; whoever asked may adopt it."""

    handle: str
    """What it is, for people: a process id or a job's name."""
    attend: "Callable[[Context], Awaitable[Result]]"
    """Adopts it: waits for its end as `run` would, with the same errors; a cancel ends it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Recovery cannot tell."""

    known: str
    """All that is known, for whoever must decide: one or two sentences."""


Recovery = Happened | NotBegun | Running | Unknown


A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


class Tool(ABC, Generic[A, R]):
    """A function offered to models, with typed arguments, a typed result and a declared effect.

    `safe` tools define `run` alone. A tool raises `ToolError` and nothing else.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    """For the model: what it does, when to use it, what to do instead. Static text."""
    group: ClassVar[Group]
    effect: ClassVar[Effect]
    version: ClassVar[int] = 1
    """Major version of the argument schema; part of a call's fingerprint."""
    destructive: ClassVar[bool] = False
    """MCP `destructiveHint`: it may overwrite or remove what is there."""
    repeatable: ClassVar[bool] = False
    """MCP `idempotentHint`: the same arguments twice do no more than once even without a key."""
    open_world: ClassVar[bool] = False
    """MCP `openWorldHint`: it may reach things outside the roots and databases."""

    repeat_argument: ClassVar[bool] = True
    """Whether `repeat` among the arguments is ours; a tool that is not ours may have its own."""
    secret_arguments: ClassVar[frozenset[str]] = frozenset()
    """Arguments that are secrets whatever is in them: stored as if nothing had been said."""

    Arguments: ClassVar[type[Arguments]]
    Result: ClassVar[type[Result]]

    def target(self, arguments: A) -> str | None:
        """What outside of the roots a call goes to, such as a database's place without passwords.

        Part of the fingerprint, since the same name may be given to another place; calls to one
        target share a circuit and a retry budget. None: there is no such thing.
        """
        return None

    def command(self, arguments: A) -> str | Sequence[str] | None:
        """The command that a call would run, for the rules about commands; None: it runs none."""
        return None

    def keeps(self, result: dict[str, Any]) -> bool:
        """Whether a result of this tool is kept, so that its key finds it again."""
        return True

    def job_records(self) -> JobRecords | None:
        """Where the jobs are that calls of this tool begin; None: they begin none."""
        return None

    def job_of(self, result: dict[str, Any]) -> str | None:
        """The job that a call began, by its result; None: it left none behind."""
        return None

    async def refresh(self, result: R, end: JobEnd | None = None) -> R:
        """A result that names a job, as it would be given now.

        Args:
            result: As it was given.
            end: How the job ended, where the journal has that.
        """
        return result

    def within(self, roots: Sequence[Path]) -> Self:
        """This tool, confined to fewer roots than its own; one that has none stays as it is.

        Raises:
            ValueError: one of them lies outside of its own.
        """
        return self

    async def prepare(self, arguments: A, context: Context) -> Evidence:
        """Read what recovery will need; changes nothing. Locks go to `context.held`.

        Raises:
            ToolError: the call cannot be carried out; `applied` is `no`.
        """
        return {}

    @abstractmethod
    async def run(self, arguments: A, evidence: Evidence, context: Context) -> R:
        """Do it, and return what came of it.

        A step that cannot be stopped half-way (rename, COMMIT) is shielded from cancellation.

        Raises:
            ToolError: with `applied` honest.
        """

    async def recover(self, evidence: Evidence) -> Recovery:
        """Find out what became of an attempt whose end nobody recorded.

        Raises:
            ToolError: with `applied` yes or no: that is what became of it; unknown: it cannot be
                told just now, but perhaps later.
        """
        return Unknown(f"{self.name} leaves nothing behind that would tell")

    def reaches(self, evidence: Evidence) -> bool:
        """Whether this server can look into a call that another one began: its target is ours."""
        return True

    async def forget(self, before: float) -> None:
        """Drop what was kept outside of the journal for calls that ended before a time.

        Args:
            before: Seconds since the epoch; the journal has forgotten those calls, too.
        """
        return None
