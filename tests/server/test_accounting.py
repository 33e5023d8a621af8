"""The accounts add up, over random histories with refusals, repeats, failures and restarts."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.identity import unbalanced
from tests.support.place import Place, body, error, keyed
from tests.support.scripted import Plan
from tests.support.site import a_site

from surefoot_server.accounting import Ledger, Report, ledger, report
from surefoot_server.journal.sqlite import SqliteReader
from surefoot_tools.errors import Code

pytestmark = pytest.mark.anyio

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"path": "f", "content": "x", "mode": "append"}),
    ("write_file", {"path": "../f", "content": "x"}),
    ("write_file", {"path": "f"}),
    ("read_file", {"path": "f"}),
    ("read_file", {"path": "absent"}),
    ("edit_file", {"path": "f", "edits": [{"old_text": "x", "new_text": "y"}]}),
    ("execute_sql", {"database": "app", "statements": [{"sql": "UPDATE counter SET n=n+1"}]}),
    ("execute_sql", {"database": "app", "statements": [{"sql": "nonsense"}]}),
    ("query_database", {"database": "app", "sql": "SELECT 1"}),
    ("nope", {}),
]
RESTART = -1

steps = st.lists(
    st.tuples(
        st.integers(RESTART, len(CALLS) - 1),
        st.sampled_from([None, "a", "b", "c"]),
        st.integers(1, 3),
    ),
    max_size=25,
)


async def play(place: Place, history: list[tuple[int, str | None, int]]) -> int:
    """Send the history, some calls several times at once; how many requests that were."""
    sent = 0
    remaining = list(history)
    while remaining:
        async with place.client() as client:
            while remaining:
                choice, key, times = remaining.pop(0)
                if choice == RESTART:
                    break
                tool, arguments = CALLS[choice]
                async with anyio.create_task_group() as senders:
                    for attempt in range(times):
                        named = keyed(key, attempt + 1) if key else None
                        send = partial(client.call_tool, tool, arguments, meta=named)
                        senders.start_soon(send)
                sent += times
    return sent


def check_identities(book: Ledger, sent: int) -> None:
    assert len(book.receipts) == sent
    calls = {call.call_id: call for call in book.calls}
    attempts = [attempt.call_id for attempt in book.attempts]
    assert set(attempts) == set(calls)
    for call in book.calls:
        own = [attempt for attempt in book.attempts if attempt.call_id == call.call_id]
        assert [attempt.number for attempt in own] == list(range(1, len(own) + 1))
        assert call.state in {"succeeded", "failed", "in_doubt"}
    for receipt in book.receipts:
        refused = receipt.disposition in ("conflict", "denied", "invalid")
        assert (receipt.call_id is None) == refused
        # No other book has a line for a safe call without a key.
        safe = receipt.call_id is not None and calls[receipt.call_id].effect == "safe"
        assert (receipt.answer_mac is None) == (safe and receipt.key is None)
    ran = [receipt for receipt in book.receipts if receipt.disposition == "ran"]
    assert {receipt.call_id for receipt in ran} == set(calls)
    assert len(book.attempts) == len(ran)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=steps)
def test_the_books_add_up_whatever_happens(
    history: list[tuple[int, str | None, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place.make(Path(folder))
        sent = anyio.run(play, place, history)
        path = place.config.journal_path
        if path.exists():
            book = ledger(path)
            check_identities(book, sent)
            wrong = unbalanced(anyio.run(derive, path), book)
            assert wrong == [], wrong


async def derive(path: Path) -> Report:
    """The report over the whole of a journal."""
    reader = SqliteReader(path)
    try:
        return await report(reader, since=0.0, tool=None, limit=5)
    finally:
        reader.close()


async def test_the_ledger_has_what_a_dead_server_had_spooled(tmp_path: Path) -> None:
    """Guard: `_left_by_the_dead` in `SqliteReader`."""
    path = tmp_path / "journal.db"
    async with a_site(path) as site:
        server = await site.serve()
        await server.executor.housekeeping.retain()  # its first round is over: it would fold, too
        await server.call("safe", client="c")
        await server.crash()
        database = apsw.Connection(str(path))
        assert list(database.execute("SELECT count(*) FROM receipt")) == [(0,)]
        database.close()
        (receipt,) = ledger(path).receipts
        assert (receipt.delivered, receipt.client) == (True, "c")
        found = await derive(path)
    assert [(each.client, each.calls) for each in found.by_client] == [("c", 1)]


async def test_a_reader_leaves_alone_what_a_live_server_has_spooled(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with a_site(path) as site:
        server = await site.serve()
        await server.executor.housekeeping.retain()  # its first round is over: it would fold, too
        await server.call("safe")
        assert ledger(path).receipts == []
        await server.journal.query("last_time", {})
        assert len(ledger(path).receipts) == 1


async def test_calls_and_failures_are_grouped_by_client_principal_and_origin() -> None:
    async with a_site() as site:
        server = await site.serve()
        await server.call("at_most_once", client="one", key="k")
        await server.call("at_most_once", client="other", key="k")
        site.world.plans.append(Plan(effect=False, code=Code.NOT_FOUND))
        await server.call("verifiable", client="other", principal="somebody")
        await server.call("nope")
        found = await report(server.journal, since=0.0, tool=None, limit=5)
    counts = ("calls", "first_attempt_success", "failed")
    assert [(row.client, *(getattr(row, name) for name in counts)) for row in found.by_client] == [
        ("one", 1, 1, 0),
        ("other", 1, 0, 1),
    ]
    assert [(row.principal, row.calls) for row in found.by_principal] == [
        ("local", 1),
        ("somebody", 1),
    ]
    assert {(row.origin, row.count) for row in found.by_origin} == {("model", 2)}


async def test_the_failure_report_says_what_failed_and_whose_fault_it_was(place: Place) -> None:
    async with place.client() as client:
        await client.call_tool("write_file", {"path": "f", "content": "x"}, meta=keyed("k"))
        await client.call_tool("write_file", {"path": "f", "content": "x"}, meta=keyed("k", 2))
        await client.call_tool("write_file", {"path": "f", "content": "y"}, meta=keyed("k", 3))
        await client.call_tool("read_file", {"path": "absent"})
        await client.call_tool("nope", {})
        told = body(await client.call_tool("failure_report", {}))
        only = body(await client.call_tool("failure_report", {"tool": "read_file"}))
    totals = told["totals"]
    assert totals["receipts"] == 6
    expected = {"ran": 3, "replayed": 1, "conflict": 1, "invalid": 1, "joined": 0, "denied": 0}
    assert {name: totals[name] for name in expected} == expected
    assert totals["calls"] == totals["first_attempt_success"] + totals["failed"] + totals["running"]
    codes = {(row["code"], row["origin"], row["count"]) for row in told["by_code"]}
    assert codes == {
        ("INVALID_ARGUMENT", "client", 1),
        ("NOT_FOUND", "model", 1),
        ("UNIMPLEMENTED", "model", 1),
    }
    assert [failure["tool"] for failure in only["recent"]] == ["read_file"]


async def test_a_command_that_exits_with_1_is_a_call_that_succeeded(place: Place) -> None:
    async with place.client() as client:
        result = await client.call_tool("run_command", {"command": "exit 1"})
        told = body(await client.call_tool("failure_report", {}))
    assert body(result)["exit_code"] == 1
    assert told["totals"]["failed"] == 0


async def test_secrets_do_not_reach_the_journal(place: Place) -> None:
    secret = "ghp_" + "a" * 36
    arguments = {
        "command": f"echo {secret} https://u:hunter2@h/",
        "env": {"PLAIN": "planted-value"},
        "max_output": 256,
    }
    async with place.client() as client:
        await client.call_tool("run_command", {**arguments, "command": f"true {secret}"})
        failed = await client.call_tool("run_command", {**arguments, "cwd": "absent"})
    assert error(failed)["code"] == "NOT_FOUND"
    written = b"".join(path.read_bytes() for path in place.config.state.rglob("journal.db*"))
    assert b"arguments" in written
    for planted in (secret, "hunter2", "planted-value"):
        assert planted.encode() not in written
