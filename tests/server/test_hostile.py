"""Requests and moments that once hurt: each is answered, and the server goes on."""

import os
from dataclasses import replace

import anyio
import anyio.lowlevel
import anyio.to_thread
import mcp_types as types
import pytest
from mcp import Client
from tests.support.place import Place, about, body, disposition, error, keyed

from surefoot_server.accounting import ledger
from surefoot_server.app import App
from surefoot_server.digest import canonical
from surefoot_server.redact import LONGEST, MASK, redact

pytestmark = pytest.mark.anyio

ADD = {"database": "app", "statements": [{"sql": "UPDATE counter SET n = n + 1"}]}


async def test_a_sender_s_number_that_no_column_holds_is_no_number(place: Place) -> None:
    """Guard: `_sender_attempt`; SQLite has no integer of 65 bits."""
    async with place.client() as client:
        huge = about(IDEMPOTENCY_KEY="k", ATTEMPT=2**63)
        with anyio.fail_after(20):
            for _ in range(2):
                result = await client.call_tool("run_command", {"command": "true"}, meta=huge)
                assert body(result)["exit_code"] == 0


async def test_a_name_that_is_no_utf_8_stops_nothing(place: Place) -> None:
    """Guard: `rows.to_json`, and the last `except` of `Groups._run`."""
    odd = os.fsencode(place.workspace) + b"/odd\xff"
    os.mkdir(odd)
    (place.workspace / "link").symlink_to(os.fsdecode(odd))
    async with place.client() as client:
        with anyio.fail_after(20):
            await client.call_tool("write_file", {"path": "link/f", "content": "x"})
            after = await client.call_tool("run_command", {"command": "true"}, meta=keyed("k"))
    assert disposition(after) == "ran"


def test_redaction_looks_at_a_bounded_part_and_in_linear_time() -> None:
    """Guard: the look-behind of the token pattern, `_shorten`; without them it takes hours."""
    assert len(redact("eyJ" * 1_300_000)) < 2 * LONGEST
    token = "eyJ" + "a" * 20 + "." + "b" * 20 + "." + "c" * 20
    assert redact(f"Bearer {token}") == f"Bearer {MASK}"
    across = "x" * (LONGEST - 30) + " " + "ghp_" + "a" * 40 + "y" * LONGEST
    assert "ghp_" not in redact(across)


def test_what_json_has_no_form_for_has_a_digest() -> None:
    """Guard: `_representable`."""
    assert canonical([float("inf")]) != canonical([float("nan")]) != canonical([1.5])


async def test_a_transaction_in_doubt_is_never_told_as_not_applied(place: Place) -> None:
    """Guard: `Work.doubt`; the row was committed before the server died."""
    async with place.process() as client:
        with pytest.raises(Exception, match="closed"):
            await client.call_tool("execute_sql", ADD, meta=keyed("k", 1, "kill:after_effect"))
    read_only = tuple(each.removesuffix("?mode=rw") for each in place.config.databases)
    async with place.client(databases=read_only) as client:
        refused = await client.call_tool("execute_sql", ADD, meta=keyed("k", 2))
    assert error(refused)["applied"] == "unknown"
    async with place.client() as client:
        found = await client.call_tool("execute_sql", ADD, meta=keyed("k", 3))
        again = await client.call_tool("execute_sql", ADD, meta=keyed("k", 4))
    assert body(found)["committed"] is True
    assert disposition(again) == "replayed"
    assert place.rows("SELECT n FROM counter") == [(1,)]


async def test_patience_that_ends_is_not_a_request_that_goes_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `patience` in `Runs.wait`; the run of a joiner alone goes on."""
    call = {"command": "echo > started; cat < gate; echo done"}
    os.mkfifo(place.workspace / "gate")
    app = App(place.config)
    patient = replace(app._policy, join_wait=2.0)  # pyright: ignore[reportPrivateUsage] - 45 s else
    monkeypatch.setattr(app, "_policy", patient)
    answers: list[types.CallToolResult] = []
    async with Client(app.server) as client:
        first = anyio.CancelScope()

        async def leave() -> None:
            with first:
                await client.call_tool("run_command", call, meta=keyed("k"))

        async def stay() -> None:
            answers.append(await client.call_tool("run_command", call, meta=keyed("k", 2)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            with anyio.fail_after(20):
                while not (place.workspace / "started").exists():
                    await anyio.lowlevel.checkpoint()
                tasks.start_soon(stay)
                path = place.config.journal_path
                while "joined" not in {row.disposition for row in ledger(path).receipts}:
                    await anyio.lowlevel.checkpoint()
            first.cancel()
        assert "goes on" in error(answers[0])["message"]
        gate = await anyio.to_thread.run_sync(os.open, place.workspace / "gate", os.O_WRONLY)
        os.close(gate)
        ended = await client.call_tool("run_command", call, meta=keyed("k", 3))
    assert body(ended)["stdout"] == "done\n"


async def test_a_signal_without_a_name_is_told_by_its_number(place: Place) -> None:
    async with place.client() as client:
        killed = await client.call_tool("run_command", {"command": "kill -40 $$"})
    assert body(killed)["signal"] == "SIG40"
