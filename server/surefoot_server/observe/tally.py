"""Running totals of one server process, derived from what it wrote to the journal.

They follow the process's own chain of events: each is read once, in its order, so that a look costs
what was written since the last one and not what the journal holds. An attempt counts when it ends
and a receipt when it is first written; both are final by then, and what is forgotten later stays
counted. The totals begin at zero with the process, as Prometheus expects of counters; several
servers on one journal each tell their own.
"""

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import anyio

from surefoot_server.journal.records import Journal, Row
from surefoot_server.journal.states import Disposition, State

BATCH = 500
"""Events in one look, which holds the journal's writer for 10 ms."""
OTHER = "other"
"""In place of the name of a tool that there is not: a caller may write anything there."""
BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Seconds: upper bounds of the buckets of durations."""
MOST_OPEN = 10_000
"""Receipts that are remembered until their answer is delivered."""
_REFUSED = (Disposition.CONFLICT, Disposition.DENIED, Disposition.INVALID)


@dataclass(slots=True)
class Durations:
    """A histogram."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """How many fell between each bound and the one before; the last is beyond all."""
    total: float = 0.0
    """Seconds of all together."""

    def add(self, seconds: float) -> None:
        """Enter one."""
        place = next((n for n, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
        self.buckets[place] += 1
        self.total += seconds


class Tally:
    """The totals, as of the last `follow`.

    Args:
        journal: What this process writes.
        tools: Names that may be told.
    """

    def __init__(self, journal: Journal, tools: Collection[str]) -> None:
        self._journal = journal
        self._tools = frozenset(tools)
        self._read = 0
        self._open: dict[str, None] = {}  # receipts that later events may name again
        self._over: set[str] = set()
        self._one_at_a_time = anyio.Lock()
        self.receipts: Counter[str] = Counter({each.value: 0 for each in Disposition})
        """By disposition."""
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Ended, by tool and state."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """Ended, by tool and outcome; one that is run again after its end counts again."""
        self.jobs: Counter[str] = Counter()
        """Whose end this process recorded, by state."""
        self.errors: Counter[tuple[str, str, str]] = Counter()
        """By code, origin and tool."""
        self.durations: dict[str, Durations] = {}
        """Of attempts, by tool."""
        self.running = 0
        """Calls of this process without an end."""

    async def follow(self) -> None:
        """Read what was written since.

        Raises:
            JournalUnavailable: the journal cannot be read; the totals stay as they were.
        """
        async with self._one_at_a_time:
            while await self._look():
                pass
            # What was over when it was seen has no event after those that were there by then.
            self._over.clear()
            names = {"owner": self._journal.owner}
            self.running = (await self._journal.query("count_running", names))[0]["n"]

    async def _look(self) -> bool:
        """Read a batch; whether there may be more."""
        upto = self._read + BATCH
        names = {"instance": self._journal.instance, "after": self._read, "upto": upto}
        rows = await self._journal.query("written_by", names)
        for _, event in groupby(rows, key=lambda row: row["seq"]):
            self._enter(list(event))
        if rows:
            self._read = rows[-1]["seq"]
        return self._read == upto

    def _enter(self, event: list[Row]) -> None:
        """Count what one event ended or received."""
        kind: str = event[0]["kind"]
        attempts = [row for row in event if row["state"] is not None]
        if kind == "again":  # the last one begins in it; one before it may end in it
            last = max((row["number"] for row in attempts), default=0)
            attempts = [row for row in attempts if row["number"] < last]
        for row in attempts:
            if kind != "begin" and row["ended_at"] is not None and row["name"] not in self._over:
                self._enter_attempt(kind, row)
        for row in event:
            if row["disposition"] is not None:
                self._enter_receipt(kind, row)
            elif kind == "job ended" and row["job_state"] is not None:
                self.jobs[row["job_state"]] += 1

    def _enter_attempt(self, kind: str, row: Row) -> None:
        tool, state = self._tool(row["call_tool"]), row["state"]
        self._over.add(row["name"])
        self.attempts[tool, state] += 1
        took = max(0.0, row["ended_at"] - row["begun_at"])
        self.durations.setdefault(tool, Durations()).add(took)
        if kind != "again":
            recovered = state == State.SUCCEEDED and row["number"] > 1
            self.calls[tool, "recovered" if recovered else state] += 1
            self._enter_error(row["error"], tool)

    def _enter_receipt(self, kind: str, row: Row) -> None:
        name: str = row["name"]
        if kind == "delivery":
            self._open.pop(name, None)
            return
        if name in self._open or name in self._over or kind == "finish":
            return
        if row["delivery"] is None:
            self._open[name] = None
            if len(self._open) > MOST_OPEN:
                del self._open[next(iter(self._open))]
        else:
            self._over.add(name)
        self.receipts[row["disposition"]] += 1
        if row["disposition"] in _REFUSED:
            self._enter_error(row["error"], self._tool(row["receipt_tool"]))

    def _enter_error(self, text: str | None, tool: str) -> None:
        if text is not None:
            error: dict[str, Any] = json.loads(text)
            self.errors[error["code"], error["origin"], tool] += 1

    def _tool(self, name: str | None) -> str:
        return name if name in self._tools else OTHER
