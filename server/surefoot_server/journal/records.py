"""The rows of the journal as the executor sees them, and the seam that every journal fills."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from surefoot_server.journal.states import Disposition, State
from surefoot_tools.outcome import Error, Outcome


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call about to begin."""

    call_id: str
    principal: str
    key: str | None
    tool: str
    effect: str
    fingerprint: str
    arguments: str
    """JSON, redacted."""
    evidence: dict[str, Any]
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request received, and what was done about it."""

    receipt_id: str
    call_id: str | None
    principal: str
    client: str | None
    key: str | None
    tool: str
    sender_attempt: int | None
    disposition: Disposition
    arguments_mac: str
    received_at: float
    """Seconds since the epoch."""
    answer_mac: str | None = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a call was seen to stand; another attempt begins only if it still does."""

    call_id: str
    state: State
    owner: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A call as the journal knows it."""

    call_id: str
    tool: str
    effect: str
    fingerprint: str
    state: State
    owner: str
    attempts: int
    """How many attempts it has had."""
    begun_at: float
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    result: dict[str, Any] | None = None
    error: Error | None = None

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return Standing(self.call_id, self.state, self.owner)


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of an attempt, and of its call; written in one transaction."""

    call_id: str
    number: int
    outcome: Outcome
    at: float
    receipt_id: str | None = None
    """The request that is being answered."""
    answer_mac: str | None = None
    keep_result: bool = True
    """Whether the body is kept for replay; those of safe calls are not."""


class JournalUnavailable(Exception):
    """The journal cannot be written; calls with an effect are refused until it can."""


class Reader(Protocol):
    """Where the accounts are read from."""

    async def query(self, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows of one of the named reading queries; sees all that was begun before it."""
        ...


class Journal(Reader, Protocol):
    """Where calls are recorded. All methods but `find` return when the record is committed.

    `durable` means: and flushed, so that a power cut keeps it. Without it a `kill -9` keeps it.

    Raises:
        JournalUnavailable: from every method, when it cannot be written.
    """

    instance: str
    """The name of this server process among the owners of calls."""
    secret: bytes
    """The journal's own key for fingerprints and digests: they give no short secret away."""

    def find(self, principal: str, key: str) -> Entry | None:
        """The call that this key names, as last committed."""
        ...

    def orphans(self) -> list[Entry]:
        """Verifiable calls that run under an owner that is dead, as last committed."""
        ...

    def alive(self, owner: str) -> bool:
        """Whether the server process that owns a call still runs."""
        ...

    async def begin(self, call: NewCall, receipt: Receipt, *, durable: bool) -> Entry | None:
        """Begin a call with its first attempt, or return the call that has its key already."""
        ...

    def begin_safe(self, call: NewCall, receipt: Receipt) -> None:
        """Begin a safe call; committed with, or before, whatever is written next."""
        ...

    async def reopen(
        self,
        seen: Standing,
        evidence: dict[str, Any],
        receipt: Receipt | None,
        *,
        closing: Closing | None = None,
        durable: bool,
    ) -> int | None:
        """Begin the next attempt of a call and return its number; None if it stands elsewhere.

        `closing` ends the attempt before it in the same transaction.
        """
        ...

    async def take_over(self, seen: Standing) -> bool:
        """Become the owner of a call whose owner is dead, unless somebody else was faster."""
        ...

    async def finish(self, closing: Closing, *, durable: bool) -> None:
        """End an attempt and its call."""
        ...

    async def record(self, receipt: Receipt) -> None:
        """Record a request that started nothing; once more with `answer_mac` when answered."""
        ...

    def deliver(self, receipt_id: str, at: float) -> None:
        """Record that an answer was fully written to its transport; never waits."""
        ...
