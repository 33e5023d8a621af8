"""What is dropped after its time: results, then calls with all about them, then events.

Each step does at most `BATCH` rows and says how many, so that the writer is never held for long.
Events go only from the oldest on, and only when nothing is left of the rows they speak of; the last
one dropped of each chain becomes its anchor, from which `verify` starts.
"""

import json
from collections.abc import Callable

from surefoot_server.config import Retention
from surefoot_server.journal.chain import Chain, Store, row_name
from surefoot_server.journal.records import Row

BATCH = 200
"""Rows in one transaction."""

Step = Callable[[Chain, Store, Retention, float], int]


def expire_results(chain: Chain, store: Store, limits: Retention, now: float) -> int:
    """Drop results; that the call was done is still known."""
    names = {"before": now - limits.results, "limit": BATCH, "now": now}
    rows = store.execute("expire_bodies", names)
    if rows:
        chain.append(store, now, "expire", [("call", row) for row in rows])
    return len(rows)


def forget_calls(chain: Chain, store: Store, limits: Retention, now: float) -> int:
    """Drop calls with their attempts and receipts."""
    names = {"before": now - limits.keys, "limit": BATCH}
    calls = store.execute("forget_calls", names)
    gone: list[str] = []
    for call in calls:
        gone.append(row_name("call", call))
        gone += [row_name("attempt", row) for row in store.execute("forget_attempts", call)]
        gone += [row_name("receipt", row) for row in store.execute("forget_receipts_of", call)]
    if gone:
        chain.append(store, now, "forget", (), gone=gone)
    return len(calls)


def forget_receipts(chain: Chain, store: Store, limits: Retention, now: float) -> int:
    """Drop receipts of no call."""
    names = {"before": now - limits.keys, "limit": BATCH}
    rows = store.execute("forget_receipts", names)
    if rows:
        chain.append(store, now, "forget", (), gone=[row_name("receipt", row) for row in rows])
    return len(rows)


def forget_events(_chain: Chain, store: Store, _limits: Retention, _now: float) -> int:
    """Drop the oldest events, as far as nothing is left of what they speak of."""
    last: dict[str, Row] = {}
    dropped = 0
    for event in store.execute("oldest_events", {"limit": BATCH}):
        if any(_is_there(store, name) for name in json.loads(event["rows"])):
            break
        last[event["instance"]] = event
        dropped += 1
    for event in last.values():
        store.execute("anchor", event)
    if last:
        store.execute("forget_events", {"id": max(event["id"] for event in last.values())})
    return dropped


def _is_there(store: Store, name: str) -> bool:
    kind, key, *_ = name.split("/")
    return bool(store.execute("row_exists", {"kind": kind, "name": key}))


def forget_instances(_chain: Chain, store: Store, limits: Retention, now: float) -> int:
    """Drop server processes of which nothing is left."""
    rows = store.execute("forget_instances", {"before": now - limits.keys})
    return min(len(rows), BATCH - 1)


STEPS: tuple[Step, ...] = (
    expire_results,
    forget_calls,
    forget_receipts,
    forget_events,
    forget_instances,
)
"""In the order in which they are done: each leaves what the next one finds."""
