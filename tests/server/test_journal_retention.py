"""What every journal drops after its time, and how it ends; asked of each of them."""

import anyio
import pytest
from tests.support.journals import (
    PRINCIPAL,
    Site,
    job_of,
    new_call,
    receipt_of,
    row_of,
    success,
    verdict,
)

from surefoot_server.config import Retention
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.states import Disposition, State
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio


async def _history(journal: SqlJournal, *, at: float, calls: int) -> None:
    for n in range(calls):
        call = new_call(f"key-{at}-{n}", at=at)
        receipt = receipt_of(call)
        await journal.begin(call, receipt, durable=False)
        job = job_of(call) if n % 2 else None
        closing = success(call, receipt_id=receipt.receipt_id, answer_mac="m", job=job)
        await journal.finish(closing, durable=False)
        await journal.record(receipt_of(call, Disposition.DENIED, call_id=None))


async def _kept(journal: SqlJournal) -> dict[str, int]:
    tables = ("call", "attempt", "receipt", "job", "event", "instance")
    return {table: len(await journal.query(f"all_{table}s", {})) for table in tables}


async def test_results_go_first_then_all_that_is_known_and_the_chain_still_holds(
    site: Site,
) -> None:
    """Guard: the anchors that `retention.forget_events` writes."""
    journal = site.open()
    limits = Retention(results=100.0, keys=1000.0)
    await _history(journal, at=1000.0, calls=300)
    assert await journal.retain(limits, 1100.0) == 0
    assert await journal.retain(limits, 1200.0) >= 300
    found = await journal.find(PRINCIPAL, "key-1000.0-7")
    assert found is not None
    assert (found.state, found.expired, found.result) == (State.SUCCEEDED, True, None)
    assert (await verdict(journal)).problems == []
    await _history(journal, at=2100.0, calls=3)
    await journal.retain(limits, 2150.0)
    assert await journal.find(PRINCIPAL, "key-1000.0-7") is None
    kept = await _kept(journal)
    assert (kept["call"], kept["attempt"], kept["receipt"], kept["job"]) == (3, 3, 6, 1)
    assert kept["event"] < 30
    instance = await row_of(journal, "instance", instance=journal.instance)
    assert instance["anchor_seq"] > 600
    assert (await verdict(journal)).problems == []


async def test_what_is_forgotten_is_no_missing_row_while_older_events_are_kept(site: Site) -> None:
    """Guard: `chain.append(..., gone=...)` in `retention`."""
    journal = site.open()
    kept = new_call("kept", at=5000.0)
    await journal.begin(kept, receipt_of(kept), durable=False)
    await _history(journal, at=1000.0, calls=3)
    await journal.retain(Retention(results=10.0, keys=10.0), 5005.0)
    assert (await _kept(journal))["call"] == 1
    # Its first event keeps all that were written after it.
    assert len(await journal.query("all_events", {})) > 9
    assert (await verdict(journal)).problems == []


async def test_retention_comes_to_rest(site: Site) -> None:
    """Guard: the row of a server that outlives its events gets one new event, and no more."""
    journal = site.open()
    limits = Retention(results=10.0, keys=10.0)
    await _history(journal, at=1000.0, calls=3)
    for _ in range(3):
        await journal.retain(limits, 5000.0)
    kept = await _kept(journal)
    assert await journal.retain(limits, 5000.0) == 0
    assert await _kept(journal) == kept == kept | {"call": 0, "receipt": 0, "job": 0, "instance": 1}
    assert (await verdict(journal)).problems == []


async def test_servers_that_died_get_an_end_and_are_forgotten_in_time(site: Site) -> None:
    """Guard: `SqlJournal._bury`, `retention.forget_instances`."""
    dead = await site.let_die("begin_calls")
    journal = site.open()
    limits = Retention(results=10.0, keys=10.0)
    await journal.retain(limits, journal.now())
    row = await row_of(journal, "instance", instance=dead)
    assert row["ended_at"] is not None
    assert (await verdict(journal)).problems == []
    later = journal.now() + 100.0
    for _ in range(3):
        await journal.retain(limits, later)
    names = [row["instance"] for row in await journal.query("all_instances", {})]
    assert names == [journal.instance]
    assert (await verdict(journal)).problems == []


async def test_a_closed_journal_has_recorded_its_end_and_what_was_queued(site: Site) -> None:
    journal = site.open()
    call = new_call(effect=Effect.SAFE, fingerprint=None)
    journal.begin_safe(call, receipt_of(call))
    site.opened.remove(journal)
    journal.close()
    other = site.open()
    row = await row_of(other, "instance", instance=journal.instance)
    assert row["ended_at"] is not None
    assert (await row_of(other, "call"))["call_id"] == call.call_id
    assert (await verdict(other)).problems == []


async def test_a_closed_journal_refuses_instead_of_letting_anybody_wait(site: Site) -> None:
    """Guard: `Writer.write`."""
    journal = site.open()
    if site.memory is not None:
        pytest.skip("the memory outlives its servers, and nobody waits for it")
    site.opened.remove(journal)
    journal.close()
    call = new_call("key")
    with anyio.fail_after(30), pytest.raises(JournalUnavailable, match="closed"):
        await journal.begin(call, receipt_of(call), durable=True)
