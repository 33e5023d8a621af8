"""What every journal promises of requests, their answers and what is asked after them."""

import pytest
from tests.support.journals import (
    PRINCIPAL,
    SAFE_CALLS,
    Site,
    begun,
    failure,
    new_call,
    receipt_of,
    row_of,
    seen,
    success,
    verdict,
)

from surefoot_server.journal.records import (
    Closing,
    Told,
)
from surefoot_server.journal.states import Delivery, Disposition, State
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio


async def test_a_request_is_recorded_and_once_more_with_its_answer(site: Site) -> None:
    journal = site.open()
    call = await begun(journal)
    receipt = receipt_of(call, Disposition.JOINED)
    await journal.record(receipt)
    await journal.record(receipt_of(call, Disposition.JOINED, receipt_id=receipt.receipt_id))
    answered = receipt_of(call, Disposition.REPLAYED, receipt_id=receipt.receipt_id, answer_mac="m")
    await journal.record(answered)
    row = await row_of(journal, "receipt", receipt_id=receipt.receipt_id)
    assert (row["disposition"], row["answer_mac"]) == ("replayed", "m")
    await journal.record(receipt_of(call, receipt_id=receipt.receipt_id, answer_mac="other"))
    row = await row_of(journal, "receipt", receipt_id=receipt.receipt_id)
    assert (row["disposition"], row["answer_mac"]) == ("replayed", "m")


async def test_text_that_no_database_takes_is_recorded_all_the_same(site: Site) -> None:
    """Guard: `rows.storable`."""
    journal = site.open()
    call = new_call()
    await journal.record(receipt_of(call, client="a\0b\ud800c", tool="x\0", call_id=None))
    row = await row_of(journal, "receipt")
    assert (row["client"], row["tool"]) == ("a\ufffdb\ufffdc", "x\ufffd")
    error = Error(Code.NOT_FOUND, Origin.MODEL, Applied.NO, 'a\0b\ud800 "code":"X"')
    broken = await begun(journal)
    closing = Closing(broken.call_id, 1, Outcome.failed(error), 1001.0)
    await journal.finish(closing, durable=True)
    assert (await seen(journal, broken)).error == error
    counted = await journal.query("count_errors", {"since": 0.0, "tool": None, "principal": None})
    assert counted == [{"code": "NOT_FOUND", "origin": "model", "n": 1}]


async def test_safe_calls_show_in_what_is_asked_after_them(site: Site) -> None:
    journal = site.open()
    call = new_call(effect=Effect.SAFE, fingerprint=None)
    receipt = receipt_of(call)
    journal.begin_safe(call, receipt)
    assert (await row_of(journal, "call"))["state"] == "running"
    journal.finish_safe(success(call, receipt_id=receipt.receipt_id, answer_mac="m"))
    row = await row_of(journal, "call")
    assert (row["state"], row["result"], row["owner"]) == ("succeeded", None, journal.instance)
    assert (await row_of(journal, "attempt"))["state"] == "succeeded"
    journal.deliver(receipt.receipt_id, Delivery.DELIVERED, 1002.0)
    row = await row_of(journal, "receipt")
    assert (row["delivery"], row["delivery_at"], row["answer_mac"]) == ("delivered", 1002.0, "m")
    assert (await verdict(journal)).problems == []


async def test_what_became_of_an_answer_is_recorded_once(site: Site) -> None:
    journal = site.open()
    call = new_call("key")
    receipt = receipt_of(call)
    await journal.begin(call, receipt, durable=True)
    journal.deliver(receipt.receipt_id, Delivery.LOST, 1002.0)
    journal.deliver(receipt.receipt_id, Delivery.DELIVERED, 1003.0)
    journal.deliver("no such receipt", Delivery.DELIVERED, 1003.0)
    assert (await row_of(journal, "receipt"))["delivery"] == "lost"


async def test_what_a_dead_server_had_spooled_is_folded_by_the_next(site: Site) -> None:
    """Guard: `fold_dead`."""
    dead = await site.let_die("spool_calls")
    journal = site.open()
    calls = await journal.query("all_calls", {})
    assert [row["call_id"] for row in calls] == [f"safe-{n:03}" for n in range(SAFE_CALLS)]
    assert {row["owner"] for row in calls} == {dead}
    assert [row["state"] for row in calls] == ["succeeded", "running"] * (SAFE_CALLS // 2)
    receipts = await journal.query("all_receipts", {})
    assert [row["delivery"] for row in receipts] == ["delivered", None] * (SAFE_CALLS // 2)
    assert len(await journal.orphans()) == SAFE_CALLS // 2
    assert list(site.state.rglob(f"{dead}.*")) == []
    assert (await verdict(journal)).problems == []


async def test_equal_calls_are_told_with_what_became_of_their_answers(site: Site) -> None:
    journal, other = site.open(), site.open()
    old, new = new_call(None, at=1000.0), new_call(None, at=2000.0)
    safe = new_call(None, effect=Effect.SAFE, at=2000.0)
    asked = receipt_of(new)
    for call, receipt in ((old, receipt_of(old)), (new, asked), (safe, receipt_of(safe))):
        await journal.begin(call, receipt, durable=True)
    journal.deliver(asked.receipt_id, Delivery.STOPPED, 2001.0)
    again = receipt_of(new, Disposition.REPLAYED)
    await other.record(again)
    found = await journal.earlier(PRINCIPAL, "f" * 64, 500.0)
    assert [each.entry.call_id for each in found] == [new.call_id, old.call_id]
    assert set(found[0].told) == {
        Told(journal.instance, Disposition.RAN, Delivery.STOPPED),
        Told(other.instance, Disposition.REPLAYED, None),
    }
    assert found[1].told == (Told(journal.instance, Disposition.RAN, None),)
    assert len(await journal.earlier(PRINCIPAL, "f" * 64, 1500.0)) == 1
    assert await journal.earlier(PRINCIPAL, "0" * 64, 0.0) == []
    assert await journal.earlier("somebody else", "f" * 64, 0.0) == []


async def test_only_a_call_in_doubt_can_be_resolved_and_only_once(site: Site) -> None:
    journal = site.open()
    call = await begun(journal)
    assert not await journal.resolve(call.call_id, State.SUCCEEDED, None, "happened: seen")
    await journal.finish(failure(call, applied=Applied.UNKNOWN), durable=True)
    assert await journal.resolve(call.call_id, State.SUCCEEDED, None, "happened: seen")
    assert not await journal.resolve(call.call_id, State.SUCCEEDED, None, "happened: again")
    found = await seen(journal, call)
    assert (found.state, found.resolved, found.error) == (
        State.SUCCEEDED,
        "happened: seen",
        None,
    )
    assert (await verdict(journal)).problems == []
