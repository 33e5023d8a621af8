"""What is derived from the journal: totals that add up, and the books for `surefoot reconcile`.

Nothing is counted anywhere else. The identities that hold at any time:

    receipts = ran + joined + replayed + in_doubt + conflict + denied + invalid
    calls    = succeeded + failed + in_doubt + running
    ended    = first_attempt_success + recovered + failed + in_doubt
    jobs     = exited + timed_out + stopped + lost + running
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from surefoot_server import digest
from surefoot_server.journal.opening import open_reader
from surefoot_server.journal.records import Reader, Row
from surefoot_server.journal.rows import storable
from surefoot_server.journal.states import Delivery, Disposition, State


class Totals(BaseModel):
    """Counts of receipts by disposition and of calls by outcome."""

    receipts: int = 0
    ran: int = 0
    joined: int = 0
    replayed: int = 0
    in_doubt_receipts: int = 0
    conflict: int = 0
    denied: int = 0
    invalid: int = 0
    calls: int = 0
    first_attempt_success: int = 0
    """Calls that succeeded at their first attempt."""
    recovered: int = 0
    """Calls that succeeded at a later attempt."""
    failed: int = 0
    in_doubt: int = 0
    running: int = 0


class Outcomes(BaseModel):
    """Calls by outcome."""

    calls: int = 0
    first_attempt_success: int = 0
    recovered: int = 0
    failed: int = 0
    in_doubt: int = 0
    running: int = 0


class ToolTotals(Outcomes):
    """Calls of one tool by outcome."""

    tool: str
    probes: int = 0
    """Of them, the commands that are known to only read, such as `git status`."""


class ClientTotals(Outcomes):
    """Calls that one client began, by outcome."""

    client: str
    """As it named itself; empty where it did not."""


class PrincipalTotals(Outcomes):
    """Calls of one principal by outcome."""

    principal: str


class JobTotals(BaseModel):
    """Jobs that calls left behind, by where they stand."""

    jobs: int = 0
    exited: int = 0
    """They came to their own end, whatever their exit status."""
    timed_out: int = 0
    stopped: int = 0
    """Somebody ended them, or nobody came for them."""
    lost: int = 0
    """Nobody recorded their end."""
    running: int = 0
    """No end is recorded yet."""


class CodeTotals(BaseModel):
    """Failed calls and refused requests with one code and origin."""

    code: str
    origin: str
    count: int


class OriginTotals(BaseModel):
    """Failed calls and refused requests that were one side's fault."""

    origin: str
    count: int


class Failure(BaseModel):
    """One failed call or refused request."""

    at: float
    """Seconds since the epoch."""
    tool: str
    call_id: str | None
    key: str | None
    kind: str
    """State of the call, or disposition of the refused request."""
    code: str
    origin: str
    applied: str
    message: str


class Report(BaseModel):
    """What failed since a time, whose fault it was, and what became of it."""

    totals: Totals
    by_tool: list[ToolTotals]
    by_client: list[ClientTotals]
    by_principal: list[PrincipalTotals]
    by_code: list[CodeTotals]
    by_origin: list[OriginTotals]
    jobs: JobTotals
    recent: list[Failure]


async def report(
    journal: Reader, *, since: float, tool: str | None, limit: int, principal: str | None = None
) -> Report:
    """Derive the accounts from the journal.

    Args:
        journal: Where everything is recorded.
        since: Seconds since the epoch.
        tool: Only this one, or None for all.
        principal: Only what this one asked for, or None for all.
        limit: Recent failures at most.

    Raises:
        JournalUnavailable: the journal cannot be read.
    """
    # As the journal stores it, or a name with a NUL would find nothing of its own.
    whose = None if principal is None else storable(principal)
    scope = {"since": since, "tool": tool, "principal": whose}
    totals = Totals()
    for row in await journal.query("count_receipts", scope):
        disposition = Disposition(row["disposition"])
        name = "in_doubt_receipts" if disposition is Disposition.IN_DOUBT else disposition.value
        setattr(totals, name, row["n"])
        totals.receipts += row["n"]
    calls = await journal.query("count_calls", scope)
    _add_up(totals, calls)
    by_code = [
        CodeTotals(code=row["code"], origin=row["origin"], count=row["n"])
        for row in await journal.query("count_errors", scope)
    ]
    jobs = {row["state"]: row["n"] for row in await journal.query("count_jobs", scope)}
    recent = await journal.query("recent_failures", scope | {"limit": limit})
    return Report(
        totals=totals,
        by_tool=[
            _add_up(ToolTotals(tool=name, probes=sum(row["probes"] for row in own)), own)
            for name, own in _by("tool", calls)
        ],
        by_client=[_add_up(ClientTotals(client=name), own) for name, own in _by("client", calls)],
        by_principal=[
            _add_up(PrincipalTotals(principal=name), own) for name, own in _by("principal", calls)
        ],
        by_code=by_code,
        by_origin=_by_origin(by_code),
        jobs=JobTotals(jobs=sum(jobs.values()), **jobs),
        recent=[_failure(row) for row in recent],
    )


T = TypeVar("T", bound=Totals | Outcomes)


def _by(column: str, calls: list[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of `count_calls` by what a column says, in the order of the names."""
    found: dict[str, list[Row]] = {}
    for row in calls:
        found.setdefault(row[column] or "", []).append(row)
    return sorted(found.items())


def _add_up(account: T, calls: list[Row]) -> T:
    """Enter rows of `count_calls` into an account."""
    for row in calls:
        name = _outcome_name(State(row["state"]), State(row["first_attempt"]))
        setattr(account, name, getattr(account, name) + row["n"])
        account.calls += row["n"]
    return account


def _by_origin(by_code: list[CodeTotals]) -> list[OriginTotals]:
    counts = Counter[str]()
    for row in by_code:
        counts[row.origin] += row.count
    return [OriginTotals(origin=origin, count=n) for origin, n in counts.most_common()]


def _outcome_name(state: State, first_attempt: State) -> str:
    if state is State.SUCCEEDED:
        first = first_attempt is State.SUCCEEDED
        return "first_attempt_success" if first else "recovered"
    return state.value


def _failure(row: Row) -> Failure:
    error: dict[str, Any] = json.loads(row["error"])
    return Failure(
        at=row["at"],
        tool=row["tool"],
        call_id=row["call_id"],
        key=row["key"],
        kind=row["kind"],
        code=error["code"],
        origin=error["origin"],
        applied=error["applied"],
        message=error["message"][:500],
    )


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt as the books show it."""

    receipt_id: str
    call_id: str | None
    principal: str
    client: str | None
    key: str | None
    tool: str
    sender_attempt: int | None
    disposition: str
    code: str | None
    arguments_mac: str
    answer_mac: str | None
    delivered: bool
    received_at: float


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call as the books show it."""

    call_id: str
    principal: str
    key: str | None
    tool: str
    effect: str
    state: str
    code: str | None
    origin: str | None
    applied: str | None
    result_mac: str | None
    resolved: str | None
    """What a person said of it when it was in doubt."""
    begun_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt as the books show it."""

    call_id: str
    number: int
    state: str
    code: str | None
    origin: str | None
    applied: str | None
    begun_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the books show it."""

    job_id: str
    call_id: str
    principal: str
    tool: str
    state: str
    exit_code: int | None
    signal: str | None
    begun_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The server's book: all receipts, calls, attempts and jobs of a journal."""

    secret: bytes
    receipts: list[ReceiptRow]
    calls: list[CallRow]
    attempts: list[AttemptRow]
    jobs: list[JobRow]

    def mac(self, value: Any) -> str:
        """The digest under this journal's key of a JSON value; see `digest.mac`."""
        return digest.mac(self.secret, value)


def ledger(place: str | Path) -> Ledger:
    """Read the whole book of a journal.

    Args:
        place: A file, or `postgresql://...`.

    Raises:
        JournalUnavailable: there is no journal, or it cannot be read.
    """
    reader = open_reader(place)
    try:
        return ledger_of(reader.secret, lambda name: reader.rows(name, {}))
    finally:
        reader.close()


def ledger_of(secret: bytes, rows: Callable[[str], list[Row]]) -> Ledger:
    """The whole book of a journal.

    Args:
        secret: The journal's own key.
        rows: Gives the rows of a named statement.
    """
    return Ledger(
        secret=secret,
        receipts=[_receipt_row(row) for row in rows("all_receipts")],
        calls=[_call_row(row, secret) for row in rows("all_calls")],
        attempts=[_attempt_row(row) for row in rows("all_attempts")],
        jobs=[_job_row(row) for row in rows("all_jobs")],
    )


def _error_of(row: Row) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(row["error"]) if row["error"] is not None else {}
    return {name: error.get(name) for name in ("code", "origin", "applied")}


def _receipt_row(row: Row) -> ReceiptRow:
    names = ("receipt_id", "call_id", "principal", "client", "key", "tool")
    return ReceiptRow(
        **{name: row[name] for name in names},
        sender_attempt=row["sender_attempt"],
        disposition=row["disposition"],
        code=_error_of(row)["code"],
        arguments_mac=row["arguments_mac"],
        answer_mac=row["answer_mac"],
        delivered=row["delivery"] == Delivery.DELIVERED,
        received_at=row["received_at"],
    )


def _call_row(row: Row, secret: bytes) -> CallRow:
    names = ("call_id", "principal", "key", "tool", "effect", "state", "resolved")
    result = None if row["result"] is None else digest.mac(secret, json.loads(row["result"]))
    return CallRow(
        **{name: row[name] for name in names},
        **_error_of(row),
        result_mac=result,
        begun_at=row["begun_at"],
        ended_at=row["ended_at"],
    )


def _attempt_row(row: Row) -> AttemptRow:
    names = ("call_id", "number", "state", "begun_at", "ended_at")
    return AttemptRow(**{name: row[name] for name in names}, **_error_of(row))


def _job_row(row: Row) -> JobRow:
    return JobRow(**{name: row[name] for name in JobRow.__dataclass_fields__})
