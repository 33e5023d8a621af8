"""The journal alone, in this process: intent and outcome, both flushed, at 1 and 64 callers."""

import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import anyio
from paired import Arm, Row, measure
from raw import Log, timed
from uuid6 import uuid7

from surefoot_server.journal.records import Closing, NewCall, Receipt
from surefoot_server.journal.sqlite import SqliteJournal
from surefoot_server.journal.states import Disposition
from surefoot_tools.outcome import Outcome, Status
from surefoot_tools.tool import Effect

MANY = 64
"""Callers at a time; each waits for its own commits only."""
DIGEST = "0" * 64


def journal_row(folder: Path, *, rounds: int, pairs: int, bound: float) -> Row:
    """Seconds a pair; the floor is a page written and flushed, twice, with nothing else.

    Args:
        folder: Where the journal and the floor's file are made.
        rounds: How many at most.
        pairs: What each caller does in a turn; an arm has as many turns in a round.
        bound: Seconds after which no other round begins.
    """
    journal = SqliteJournal(folder / "alone" / "journal.db", version="bench")
    log = Log(folder / "floor")
    try:
        # The floor comes first: a ratio is then the rate by the floor's rate.
        arms = [
            Arm("floor: 2 x (write 4 KiB, fdatasync)", timed(lambda: log.around(lambda: None))),
            Arm("SqliteJournal, 1 caller", _pairs(journal, callers=1, pairs=pairs)),
            Arm(f"SqliteJournal, {MANY} callers", _pairs(journal, callers=MANY, pairs=pairs)),
        ]
        name = "journal alone: intent and outcome, both flushed"
        return measure(name, arms, rounds=rounds, calls=pairs, bound=bound)
    finally:
        log.close()
        journal.close()


def _pairs(journal: SqliteJournal, *, callers: int, pairs: int) -> Callable[[], float]:
    async def caller() -> None:
        for _ in range(pairs):
            await _pair(journal)

    async def all_callers() -> float:
        began = perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(caller)
        return (perf_counter() - began) / (callers * pairs)

    return lambda: anyio.run(all_callers)


async def _pair(journal: SqliteJournal) -> None:
    call_id, receipt_id, now = uuid7().hex, uuid7().hex, time.time()
    call = NewCall(
        call_id=call_id,
        principal="local",
        key=f"bench:{call_id}",
        tool="write_file",
        effect=Effect.VERIFIABLE,
        fingerprint=DIGEST,
        scope=DIGEST,
        repeated=False,
        arguments='{"path":"kilobyte.txt"}',
        evidence={"before": DIGEST, "after": DIGEST},
        at=now,
    )
    receipt = Receipt(
        receipt_id=receipt_id,
        call_id=call_id,
        principal=call.principal,
        client="bench",
        key=call.key,
        tool=call.tool,
        sender_attempt=1,
        disposition=Disposition.RAN,
        arguments_mac=DIGEST,
        received_at=now,
    )
    await journal.begin(call, receipt, durable=True)
    outcome = Outcome(Status.SUCCEEDED, {"path": "kilobyte.txt", "size": 1024, "sha256": DIGEST})
    closing = Closing(call_id, 1, outcome, time.time(), receipt_id, DIGEST)
    await journal.finish(closing, durable=True)
