"""Tamper evidence: a hash chain for each server instance over the digests of what it wrote.

Each change of the journal appends an event with the digests of the rows as they are after it. An
event's link is SHA-256 over the link before it and the event's fields, so that an event changed,
taken out or put in breaks the chain from there on; a row changed, taken out or put in past the
journal no longer is what its last event says. A row's digest is over all of its columns, so that a
body that expires gets an event of its own. Whoever may write the whole file can also write a whole
new history: keep the links that `surefoot journal verify` prints somewhere else to tell that, too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pydantic_core

from surefoot_server.journal.records import Row
from surefoot_server.journal.rows import to_json

KEYS = {
    "call": ("call_id",),
    "attempt": ("call_id", "number"),
    "receipt": ("receipt_id",),
    "job": ("job_id",),
    "instance": ("instance",),
}
"""The tables whose rows events vouch for, and what names a row."""
MOVING = frozenset({"seq", "chain", "anchor_seq", "anchor_chain"})
"""Columns of an instance that no event vouches for: they are where its chain begins and ends."""


class Store(Protocol):
    """One open transaction of a journal, whatever database it is in."""

    def execute(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a named statement of `queries.sql`, and give its rows."""
        ...


def genesis(instance: str) -> str:
    """The link before the first event of an instance."""
    return hashlib.sha256(f"surefoot journal {instance}".encode()).hexdigest()


def link(before: str, event: Mapping[str, Any]) -> str:
    """The link of an event: SHA-256 over the one before it and the event's fields."""
    fields = [
        before,
        *(event[name] for name in ("instance", "seq", "at", "kind", "rows", "detail")),
    ]
    return hashlib.sha256(pydantic_core.to_json(fields)).hexdigest()


def row_name(table: str, row: Row) -> str:
    """The name of a row in events: `attempt/CALL/2`."""
    return "/".join([table, *(str(row[column]) for column in KEYS[table])])


def row_digest(row: Row) -> str:
    """SHA-256 over the columns of a row, in the order of their names."""
    values = [row[column] for column in sorted(row) if column not in MOVING]
    return hashlib.sha256(pydantic_core.to_json(values)).hexdigest()


class Chain:
    """The chain of one instance, as it grows.

    Args:
        instance: Whose.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._seq = 0
        self._link = genesis(instance)

    def append(
        self,
        store: Store,
        at: float,
        kind: str,
        rows: Iterable[tuple[str, Row]],
        detail: Mapping[str, Any] | None = None,
        gone: Iterable[str] = (),
    ) -> None:
        """Add an event.

        Args:
            store: The transaction that changes the rows.
            at: Seconds since the epoch.
            kind: What happened, in one word.
            rows: Table and columns of each row that it added or changed, as they are now.
            detail: What else is to be known; no bodies.
            gone: Names of rows that it took out.
        """
        digests: dict[str, str | None] = {
            row_name(table, row): row_digest(row) for table, row in rows
        }
        digests |= dict.fromkeys(gone)
        self._seq += 1
        event = {
            "instance": self._instance,
            "seq": self._seq,
            "at": float(at),
            "kind": kind,
            "rows": to_json(digests),
            "detail": to_json(detail or {}),
        }
        self._link = link(self._link, event)
        store.execute("insert_event", event | {"chain": self._link})

    def mark(self) -> tuple[int, str]:
        """Where it stands, for `reset`."""
        return self._seq, self._link

    def reset(self, mark: tuple[int, str]) -> None:
        """Go back to where it stood: what came since was rolled back."""
        self._seq, self._link = mark

    def seal(self, store: Store) -> None:
        """Write where it stands, once a transaction."""
        store.execute("seal", {"instance": self._instance, "seq": self._seq, "chain": self._link})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the chains of a journal found."""

    events: int
    rows: int
    heads: dict[str, str]
    """The last link of each instance."""
    problems: list[str]
    """What is not as it was written, in words; empty if all is."""


def verify(
    instances: Iterable[Row], events: Iterable[Row], tables: Mapping[str, Iterable[Row]]
) -> Verdict:
    """Hold a journal's rows against its chains.

    Args:
        instances: All of them.
        events: All that are kept, in the order in which they were written.
        tables: The rows of `call`, `attempt`, `receipt` and `job`.
    """
    problems: list[str] = []
    instances = list(instances)
    anchors = {row["instance"]: row for row in instances}
    at = {name: (row["anchor_seq"], row["anchor_chain"]) for name, row in anchors.items()}
    last: dict[str, str | None] = {}
    count = 0
    for event in events:
        count += 1
        name = f"event {event['instance']}/{event['seq']} ({event['kind']})"
        seq, before = at.get(event["instance"], (None, ""))
        if seq is None:
            problems.append(f"{name}: its instance is missing")
            continue
        if event["seq"] != seq + 1:
            problems.append(f"{name}: follows event {seq}; what was between is missing")
        elif link(before, event) != event["chain"]:
            problems.append(f"{name}: is not as it was written")
        at[event["instance"]] = event["seq"], event["chain"]
        last |= _digests(event, name, problems)
    for name, row in anchors.items():
        if at[name] != (row["seq"], row["chain"]):
            problems.append(f"instance {name}: its last events are missing, or it was altered")
    found = _hold({**tables, "instance": instances}, last, problems)
    return Verdict(count, found, {name: head for name, (_, head) in at.items()}, problems)


def _digests(event: Row, name: str, problems: list[str]) -> dict[str, str | None]:
    try:
        found: Any = json.loads(event["rows"])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        problems.append(f"{name}: cannot be read")
        return {}
    return cast(dict[str, str | None], found)


def _hold(
    tables: Mapping[str, Iterable[Row]], last: dict[str, str | None], problems: list[str]
) -> int:
    """Each row is as its last event says, and each row that an event speaks of is there."""
    found = 0
    for table, rows in tables.items():
        for row in rows:
            found += 1
            name = row_name(table, row)
            said = last.pop(name, None)
            if said is None:
                problems.append(f"{name}: nobody wrote it")
            elif said != row_digest(row):
                problems.append(f"{name}: is not as it was written")
    problems += [f"{name}: is missing" for name, said in last.items() if said is not None]
    return found
