"""An event as a person or a program reads it: what it is about, and how that stands now."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from surefoot_cli.moment import moment
from surefoot_server.journal.records import Row
from surefoot_server.journal.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Told:
    """One event, with what its rows say."""

    id: int
    at: float
    """Seconds since the epoch."""
    kind: str
    instance: str
    rows: int
    """How many it changed."""
    tool: str | None = None
    key: str | None = None
    call_id: str | None = None
    receipt_id: str | None = None
    job_id: str | None = None
    """Where the event is about the end of a job."""
    state: str | None = None
    """Of the call or the job, as it is now; of a request without a call what was done about it."""
    delivery: str | None = None
    """What became of the answer, where the event is about that."""
    detail: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def as_line(self) -> str:
        """Time, kind, tool, key or call id, state."""
        name = self.job_id or self.key or self.call_id or self.receipt_id
        words = [
            moment(self.at),
            f"{self.kind:<9}",
            self.tool,
            name if name is not None else f"{self.rows} rows" if self.rows else self.instance,
            self.delivery or self.state,
            json.dumps(self.detail) if self.detail else None,
        ]
        return "  ".join(word for word in words if word)


def tell(event: Row, snapshot: Snapshot) -> Told:
    """Look up what an event is about; of one about many calls, only how many."""
    names: list[str] = list(json.loads(event["rows"]))
    parts = [name.split("/") for name in names]
    calls = {part[1] for part in parts if part[0] in ("call", "attempt")}
    jobs = [part[1] for part in parts if part[0] == "job"]
    receipts = [part[1] for part in parts if part[0] == "receipt"]
    about: Row = {}
    if len(calls) == 1:
        about = _call(calls.pop(), snapshot)
    elif not calls and len(jobs) == 1:
        about = _job(jobs[0], snapshot)
    elif not calls and len(receipts) == 1:
        about = _receipt(receipts[0], event["kind"], snapshot)
    return Told(
        id=event["id"],
        at=event["at"],
        kind=event["kind"],
        instance=event["instance"],
        rows=len(names),
        detail=json.loads(event["detail"]),
        **about,
    )


def _call(call_id: str, snapshot: Snapshot) -> Row:
    about: Row = {"call_id": call_id}
    for row in snapshot.rows("find_call", {"call_id": call_id}):
        about |= {name: row[name] for name in ("tool", "key", "state")}
    return about


def _job(job_id: str, snapshot: Snapshot) -> Row:
    about: Row = {"job_id": job_id}
    for row in snapshot.rows("find_job", {"job_id": job_id}):
        about |= _call(row["call_id"], snapshot) | {"state": row["state"]}
    return about


def _receipt(receipt_id: str, kind: str, snapshot: Snapshot) -> Row:
    about: Row = {"receipt_id": receipt_id}
    for row in snapshot.rows("find_receipt", {"receipt_id": receipt_id}):
        about |= {name: row[name] for name in ("tool", "key", "call_id")}
        about["state"] = row["disposition"]
        if kind == "delivery":
            about["delivery"] = row["delivery"]
    return about
