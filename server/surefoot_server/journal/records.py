"""The rows of the journal as the executor sees them, and the seam that every journal fills."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from surefoot_server.config import Retention
from surefoot_server.journal.states import Delivery, Disposition, State
from surefoot_tools.jobs import JobEnd
from surefoot_tools.outcome import Error, Outcome

Row = dict[str, Any]
"""One row of a reading query, by column."""


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call about to begin."""

    call_id: str
    principal: str
    key: str | None
    tool: str
    effect: str
    fingerprint: str | None
    """None of a safe call without a key: nothing is ever held to it."""
    scope: str
    """Digest of the roots: only a server with the same ones can look into what became of it."""
    repeated: bool
    """Whether the caller said that it means the same once more."""
    arguments: str
    """JSON, as `--store-arguments` asks; `null` for none."""
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
    arguments_mac: str | None
    """None of a safe call without a key: no other book has a line for it."""
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
    principal: str
    key: str | None
    tool: str
    effect: str
    fingerprint: str | None
    scope: str
    repeated: bool
    state: State
    owner: str
    attempts: int
    """How many attempts it has had."""
    begun_at: float
    ended_at: float | None
    expired: bool
    """Whether its result is no longer kept, or was never known."""
    resolved: str | None
    """What a person said of it when it was in doubt."""
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    result: dict[str, Any] | None = None
    error: Error | None = None

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return Standing(self.call_id, self.state, self.owner)


@dataclass(frozen=True, slots=True)
class Told:
    """What one request for a call was told."""

    server: str
    """The instance that received it."""
    disposition: Disposition
    delivery: Delivery | None
    """What became of the answer; None while that is open."""
    final: bool = True
    """Whether it says what became of the call: that it still runs or is in doubt does not."""
    by_tool: bool = False
    """Whether it is an error of the tool's own."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A call that was asked for in the same words before, and what became of its answers."""

    entry: Entry
    told: tuple[Told, ...]
    """What each request for it was told."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a call leaves behind that goes on; its end is a row of its own."""

    job_id: str
    call_id: str
    principal: str
    tool: str
    place: str
    """Where its records are: only a server that has this place can look how it ended."""
    at: float
    """When it became a job, with the end of its call; seconds since the epoch."""


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
    job: Job | None = None
    """What it leaves behind."""


class JournalUnavailable(Exception):
    """The journal cannot be written; calls with an effect are refused until it can."""


class Fenced(JournalUnavailable):
    """This server is no longer the owner of the call: another one found its lock free."""


class Reader(Protocol):
    """Where the accounts are read from."""

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of one of the named reading queries; sees all that was begun before it."""
        ...


class Journal(Reader, Protocol):
    """Where calls are recorded. Its methods return when the record is committed.

    `durable` means: and flushed, so that a power cut keeps it. Without it a `kill -9` keeps it.

    Raises:
        JournalUnavailable: from every method, when it cannot be written or read.
    """

    instance: str
    """The name of this server process."""
    secret: bytes
    """The journal's own key for fingerprints and digests: they give no short secret away."""

    @property
    def owner(self) -> str:
        """As whom this server owns the calls that it begins now."""
        ...

    def now(self) -> float:
        """Seconds since the epoch; never less than before, also when the wall clock is set back."""
        ...

    async def find(self, principal: str, key: str) -> Entry | None:
        """The call that this key names, as last committed."""
        ...

    async def look(self, call_id: str) -> Entry | None:
        """The call with this id, as last committed."""
        ...

    async def earlier(self, principal: str, fingerprint: str, since: float) -> list[Earlier]:
        """Calls with an effect that were asked for in the same words since then, newest first."""
        ...

    async def joined_elsewhere(self, call_id: str) -> bool:
        """Whether a request in another live server waits for this call."""
        ...

    async def orphans(self) -> list[Entry]:
        """Calls that run under an owner that is dead, oldest first."""
        ...

    async def alive(self, owner: str) -> bool:
        """Whether the server process that owns a call still runs."""
        ...

    async def begin(self, call: NewCall, receipt: Receipt, *, durable: bool) -> Entry | None:
        """Begin a call with its first attempt, or return the call that has its key already."""
        ...

    def begin_safe(self, call: NewCall, receipt: Receipt) -> None:
        """Begin a safe call without a key; a `kill -9` keeps it. Never waits, never fails."""
        ...

    def finish_safe(self, closing: Closing) -> None:
        """End a call of `begin_safe`; as that, never waits and never fails."""
        ...

    def deliver(self, receipt_id: str, delivery: Delivery, at: float) -> None:
        """Record what became of an answer; a `kill -9` keeps it. Never waits, never fails."""
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
        """End an attempt and its call.

        Raises:
            Fenced: the call has another owner by now.
        """
        ...

    async def running_jobs(self) -> list[Job]:
        """Jobs of which no end is recorded, whoever began them, oldest first."""
        ...

    async def job_end(self, job_id: str) -> JobEnd | None:
        """How a job ended, as recorded; None if that is not."""
        ...

    async def end_job(self, job_id: str, end: JobEnd) -> bool:
        """Record how a job ended, unless that is recorded; whether this was the first to do so."""
        ...

    async def record(self, receipt: Receipt) -> None:
        """Record a request that started nothing; once more with `answer_mac` when answered."""
        ...

    async def retain(self, retention: Retention, now: float) -> int:
        """Drop what is past its time, in small steps; how many rows that were."""
        ...

    def close(self) -> None:
        """Write what is queued, record the orderly end, stop being an owner. May block."""
        ...
