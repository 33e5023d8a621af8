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
    """Drop calls with their attempts, receipts and jobs."""
    names = {"before": now - limits.keys, "limit": BATCH}
    calls = store.execute("forget_calls", names)
    gone: list[str] = []
    for call in calls:
        gone.append(row_name("call", call))
        gone += [row_name("attempt", row) for row in store.execute("forget_attempts", call)]
        gone += [row_name("receipt", row) for row in store.execute("forget_receipts_of", call)]
        gone += [row_name("job", row) for row in store.execute("forget_jobs", call)]
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


def forget_events(chain: Chain, store: Store, _limits: Retention, now: float) -> int:
    """Drop the oldest events, as far as nothing is left of what they speak of.

    A server process may outlive all else that was written when it began, and must not keep it all:
    its row gets a new event.
    """
    last: dict[str, Row] = {}
    servers: dict[str, None] = {}
    dropped = 0
    for event in store.execute("oldest_events", {"limit": BATCH}):
        names = [name.split("/") for name in json.loads(event["rows"])]
        if any(_is_there(store, kind, key) for kind, key, *_ in names if kind != "instance"):
            break
        servers |= {key: None for kind, key, *_ in names if kind == "instance"}
        last[event["instance"]] = event
        dropped += 1
    if dropped < 2:  # one is what may come in its place
        return 0
    for event in last.values():
        store.execute("anchor", event)
    store.execute("forget_events", {"id": max(event["id"] for event in last.values())})
    rows = [
        ("instance", row)
        for name in servers
        for row in store.execute("find_instance", {"instance": name})
    ]
    if rows:
        chain.append(store, now, "carry", rows)
    return dropped


def _is_there(store: Store, kind: str, key: str) -> bool:
    return bool(store.execute("row_exists", {"kind": kind, "name": key}))


def forget_instances(chain: Chain, store: Store, limits: Retention, now: float) -> int:
    """Drop server processes of which nothing is left."""
    rows = store.execute("forget_instances", {"before": now - limits.keys})
    if rows:
        gone = [row_name("instance", row) for row in rows]
        chain.append(store, now, "forget", (), gone=gone)
    return min(len(rows), BATCH - 1)


STEPS: tuple[Step, ...] = (
    expire_results,
    forget_calls,
    forget_receipts,
    forget_events,
    forget_instances,
)
"""In the order in which they are done: each leaves what the next one finds."""
