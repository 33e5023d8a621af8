"""The driver's side of the double entry: what its records say was sent, and what came back.

Before `reconcile.py`, which holds it against the server's journal. Contents are kept as digests, so
that a book of any length stays small.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from surefoot_client.record import (
    Answered,
    OfTrial,
    Proposed,
    Record,
    RunStarted,
    Sent,
    TrialEnded,
)

Where = tuple[str, int]
"""A send: its key and its attempt number."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that keeps the books from balancing."""

    row: str
    """Names it: `send KEY #ATTEMPT`, `receipt ID`, `call ID`, `attempt CALL_ID/NUMBER`."""
    what: str

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


@dataclass(frozen=True, slots=True)
class Posting:
    """A send as the books need it."""

    trial: str
    scope: str
    """The trial's part of the key: its name and, of several drivers, the driver."""
    tool: str
    arguments_mac: str


@dataclass(frozen=True, slots=True)
class Return:
    """What came of a send, as the books need it."""

    scope: str
    """As that of its `Posting`."""
    answered: bool
    """By the server; one that was turned away before it came so far was not."""
    dropped: bool
    """It was read, and thrown away on purpose."""
    mac: str | None
    """Digest of the whole answer; None where there is none, or the protocol refused it."""
    structured_mac: str | None
    code: str | None
    call_id: str | None
    disposition: str | None
    server_attempt: int | None


def name(where: Where) -> str:
    """A send as a problem names it."""
    return f"send {where[0]} #{where[1]}"


@dataclass(slots=True)
class Book:
    """Everything that one or more processes of a run recorded, checked within itself.

    Args:
        mac: Digest of a JSON value under the journal's own key.
    """

    mac: Callable[[Any], str]
    runs: set[str] = field(default_factory=set[str])
    sends: dict[Where, Posting] = field(default_factory=dict[Where, Posting])
    returns: dict[Where, Return] = field(default_factory=dict[Where, Return])
    proposals: dict[str, Posting] = field(default_factory=dict[str, Posting])
    """By key; malformed ones, which are never sent, are left out."""
    ended: set[str] = field(default_factory=set[str])
    """Trials that ended on record."""
    problems: list[Problem] = field(default_factory=list[Problem])

    def enter(self, records: Iterable[Record]) -> None:
        """Enter records in their order, then check them against one another."""
        for record in records:
            match record:
                case RunStarted():
                    self.runs.add(record.run)
                case TrialEnded():
                    self.ended.add(record.trial)
                case Proposed():
                    self._propose(record)
                case Sent():
                    self._send(record)
                case Answered():
                    self._return(record)
                case _:
                    pass
        self._check()

    def _propose(self, record: Proposed) -> None:
        if record.arguments is None:
            return
        if record.key in self.proposals:
            self._say(f"proposal {record.key}", "is recorded twice")
        self.proposals[record.key] = self._posting(record, record.tool, record.arguments)

    def _send(self, record: Sent) -> None:
        where = (record.key, record.attempt)
        if where in self.sends:
            self._say(name(where), "is recorded twice")
        self.sends[where] = self._posting(record, record.tool, record.arguments)

    def _posting(self, record: OfTrial, tool: str, arguments: dict[str, Any]) -> Posting:
        return Posting(record.trial, record.scope, tool, self.mac(arguments))

    def _return(self, record: Answered) -> None:
        where = (record.key, record.attempt)
        if where in self.returns:
            self._say(name(where), "its answer is recorded twice")
        answered = record.result == "answered"
        whole = answered and record.protocol_error is None
        error = record.error or {}
        self.returns[where] = Return(
            scope=record.scope,
            answered=answered and record.http_status is None,
            dropped=record.lost == "dropped",
            mac=self.mac(_as_digested(record)) if whole else None,
            structured_mac=self.mac(record.structured) if record.structured is not None else None,
            code=error.get("code"),
            call_id=record.call_id,
            disposition=record.disposition,
            server_attempt=record.server_attempt,
        )
        if answered != (record.is_error is not None) or answered != (record.lost is None):
            self._say(name(where), "its answer is recorded as both answered and lost")
        told = (record.structured, record.error, record.call_id, record.disposition)
        if not answered and any(part is not None for part in told):
            self._say(name(where), "its answer is recorded as lost, and yet with a content")
        if record.replayed != (record.disposition == "replayed"):
            self._say(
                name(where),
                f"its answer is recorded with disposition {record.disposition}, "
                f"replayed {record.replayed}",
            )

    def _check(self) -> None:
        last: dict[str, int] = {}
        for where in self.sends:
            last[where[0]] = max(last.get(where[0], 0), where[1])
            self._check_send(where)
        for key, attempts in last.items():
            for attempt in range(1, attempts):
                if (key, attempt) not in self.sends:
                    self._say(name((key, attempt)), f"is missing, though #{attempts} was sent")
        for where in self.returns:
            if where not in self.sends:
                self._say(name(where), "has an answer, but the send itself is missing")
        for key, proposal in self.proposals.items():
            if proposal.trial in self.ended and key not in last:
                self._say(name((key, 1)), "is missing, though it was proposed")

    def _check_send(self, where: Where) -> None:
        send, returned = self.sends[where], self.returns.get(where)
        run, _, rest = where[0].partition(":")
        if run not in self.runs or not rest.startswith(f"{send.scope}:"):
            self._say(name(where), f"its key is not one of this run and of trial {send.scope}")
        proposal = self.proposals.get(where[0])
        if proposal is None:
            self._say(name(where), "was sent, but never proposed")
        elif proposal != send:
            self._say(name(where), "is not what was proposed: tool, arguments or trial differ")
        if returned is None and send.trial in self.ended:
            self._say(name(where), "has no answer on record, not even a lost one")
        if returned is not None and returned.scope != send.scope:
            self._say(name(where), f"its answer is recorded for trial {returned.scope}")

    def _say(self, row: str, what: str) -> None:
        self.problems.append(Problem(row, what))


def _as_digested(record: Answered) -> dict[str, Any]:
    """The answer in the form that both sides take the digest of."""
    error = record.error
    if error is not None:
        error = {part: value for part, value in error.items() if part != "call_id"}
    return {"is_error": record.is_error, "structured": record.structured, "error": error}
