"""The accounts add up, over random histories with refusals, repeats, failures and restarts."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.place import Place, body, error, keyed

from surefoot_server.accounting import Ledger, ledger

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
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
            check_identities(ledger(path), sent)


async def test_the_failure_report_says_what_failed_and_whose_fault_it_was(place: Place) -> None:
    async with place.client() as client:
        await client.call_tool("write_file", {"path": "f", "content": "x"}, meta=keyed("k"))
        await client.call_tool("write_file", {"path": "f", "content": "x"}, meta=keyed("k", 2))
        await client.call_tool("write_file", {"path": "f", "content": "y"}, meta=keyed("k", 3))
        await client.call_tool("read_file", {"path": "absent"})
        await client.call_tool("nope", {})
        report = body(await client.call_tool("failure_report", {}))
        only = body(await client.call_tool("failure_report", {"tool": "read_file"}))
    totals = report["totals"]
    assert totals["receipts"] == 6
    expected = {"ran": 3, "replayed": 1, "conflict": 1, "invalid": 1, "joined": 0, "denied": 0}
    assert {name: totals[name] for name in expected} == expected
    assert totals["calls"] == totals["first_attempt_success"] + totals["failed"] + totals["running"]
    codes = {(row["code"], row["origin"], row["count"]) for row in report["by_code"]}
    assert codes == {
        ("INVALID_ARGUMENT", "client", 1),
        ("NOT_FOUND", "model", 1),
        ("UNIMPLEMENTED", "model", 1),
    }
    assert [failure["tool"] for failure in only["recent"]] == ["read_file"]


async def test_a_command_that_exits_with_1_is_a_call_that_succeeded(place: Place) -> None:
    async with place.client() as client:
        result = await client.call_tool("run_command", {"command": "exit 1"})
        report = body(await client.call_tool("failure_report", {}))
    assert body(result)["exit_code"] == 1
    assert report["totals"]["failed"] == 0


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
