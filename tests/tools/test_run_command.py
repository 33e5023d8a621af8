"""`run_command` through the server: what comes out, what is bounded, and what is ended."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.level import found, level
from tests.support.place import Place, body, error, keyed
from tests.tools.shell_door import new_marker, survivors

from surefoot_server.accounting import ledger
from surefoot_tools.sandbox import sandbox
from surefoot_tools.sandbox.sandbox import Level

pytestmark = pytest.mark.anyio


async def run(place: Place, command: str | list[str], **more: Any) -> Any:
    async with place.client() as client:
        return await client.call_tool("run_command", {"command": command, **more})


async def until(path: Path) -> None:
    """Wait for a file that a command makes."""
    with anyio.fail_after(20):
        while not path.exists():
            await anyio.lowlevel.checkpoint()


async def until_joined(place: Place) -> None:
    """Wait until the journal shows a request that joined a run."""
    with anyio.fail_after(20):
        while "joined" not in {
            row.disposition for row in ledger(place.config.journal_path).receipts
        }:
            await anyio.lowlevel.checkpoint()


async def test_a_string_is_run_by_the_shell_and_a_list_directly(place: Place) -> None:
    assert body(await run(place, "echo $((1+1)) | cat"))["stdout"] == "2\n"
    assert body(await run(place, ["echo", "$((1+1))", "|"]))["stdout"] == "$((1+1)) |\n"


async def test_streams_exit_code_and_signal_are_told_apart(place: Place) -> None:
    both = body(await run(place, "echo out; echo err >&2; exit 3"))
    assert (both["stdout"], both["stderr"], both["exit_code"]) == ("out\n", "err\n", 3)
    killed = body(await run(place, "kill -TERM $$"))
    assert (killed["exit_code"], killed["signal"]) == (None, "SIGTERM")


async def test_it_starts_inside_the_root_and_nowhere_else(place: Place) -> None:
    (place.workspace / "sub").mkdir()
    assert body(await run(place, "pwd", cwd="sub"))["stdout"] == f"{place.workspace}/sub\n"
    for cwd in ("..", "/", "absent"):
        assert error(await run(place, "pwd", cwd=cwd))["code"] in ("PERMISSION_DENIED", "NOT_FOUND")


async def test_stdin_is_empty_unless_given(place: Place) -> None:
    assert body(await run(place, "cat"))["stdout"] == ""
    text = "line\n" * 50_000
    assert body(await run(place, "wc -c", stdin=text))["stdout"].strip() == str(len(text))


async def test_the_environment_is_clean_and_takes_additions(place: Place) -> None:
    environment = {**place.config.environment, "API_KEY": "s", "LC_ALL": "C"}
    async with place.client(environment=environment) as client:
        call = {"command": ["env"], "env": {"MORE": "1"}}
        shown = body(await client.call_tool("run_command", call))["stdout"].splitlines()
    names = {line.partition("=")[0] for line in shown}
    assert {"PATH", "LC_ALL", "MORE"} <= names
    assert "API_KEY" not in names


async def test_output_is_cut_in_the_middle_and_says_so(place: Place) -> None:
    result = await run(place, "seq 100000", max_output=1000)
    found = body(result)
    assert found["truncated"] is True
    assert found["stdout"].startswith("1\n2\n")
    assert found["stdout"].endswith("99999\n100000\n")
    assert found["stdout_bytes"] == 588895
    assert "bytes left out" in found["stdout"]
    assert "a larger max_output shows more" in result.content[0].text
    assert f"read_job with job_id {found['job_id']}" in result.content[0].text


async def test_a_timeout_kills_the_process_group_and_keeps_the_output(place: Place) -> None:
    """Guard: the limit in `Supervisor._watch`."""
    marker = new_marker()
    command = f"sleep {marker} & echo seen; sleep {marker}"
    failed = error(await run(place, command, timeout=0.5))
    assert (failed["code"], failed["applied"]) == ("DEADLINE_EXCEEDED", "yes")
    assert "seen" in failed["message"]
    assert survivors(marker) == []


async def test_what_it_leaves_in_the_background_ends_with_it(place: Place) -> None:
    marker = new_marker()
    found = body(await run(place, f"sleep {marker} &"))
    assert found["exit_code"] == 0
    assert survivors(marker) == []


async def test_a_cancelled_command_is_killed_and_recorded(place: Place) -> None:
    """Guard: the last waiter's cancel in `Executor._wait`."""
    marker = new_marker()
    call = {"command": f"echo > started; sleep {marker}"}
    async with place.client() as client:
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await client.call_tool("run_command", call, meta=keyed("k"))

            tasks.start_soon(send)
            await until(place.workspace / "started")
            tasks.cancel_scope.cancel()
        again = await client.call_tool("run_command", call, meta=keyed("k", 2))
    failed = error(again)
    assert (failed["code"], failed["origin"], failed["applied"]) == ("CANCELLED", "client", "yes")
    assert survivors(marker) == []


async def test_one_waiter_going_away_does_not_end_a_run_that_another_waits_for(
    place: Place,
) -> None:
    """Guard: the count of waiters in `Executor._wait`."""
    call = {"command": "echo > started; cat < gate; echo done"}
    os.mkfifo(place.workspace / "gate")
    answers: list[Any] = []
    async with place.client() as client, anyio.create_task_group() as tasks:
        first = anyio.CancelScope()

        async def leave() -> None:
            with first:
                await client.call_tool("run_command", call, meta=keyed("k"))

        async def stay() -> None:
            answers.append(await client.call_tool("run_command", call, meta=keyed("k", 2)))

        tasks.start_soon(leave)
        await until(place.workspace / "started")
        tasks.start_soon(stay)
        await until_joined(place)
        first.cancel()
        gate = await anyio.to_thread.run_sync(os.open, place.workspace / "gate", os.O_WRONLY)
        os.close(gate)
    assert body(answers[0])["stdout"] == "done\n"


async def test_what_cannot_be_started_says_why_and_nothing_was_done(place: Place) -> None:
    (place.workspace / "plain").write_text("text")
    (place.workspace / "odd").write_text("\x00\x01")
    (place.workspace / "odd").chmod(0o755)
    expected = {
        "no-such-program": "NOT_FOUND",
        f"{place.workspace}/plain": "PERMISSION_DENIED",
        f"{place.workspace}/odd": "FAILED_PRECONDITION",
        "nul\0byte": "INVALID_ARGUMENT",
    }
    for program, code in expected.items():
        failed = error(await run(place, [program]))
        assert (failed["code"], failed["applied"]) == (code, "no")
    assert error(await run(place, ["echo", "x" * 3_000_000]))["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("bad", [{"timeout": 0}, {"max_output": 10}, {"command": []}, {"cwd": 7}])
async def test_arguments_outside_their_bounds_are_refused(place: Place, bad: Any) -> None:
    assert error(await run(place, **{"command": "true", **bad}))["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("asked", [Level.OFF, level()])
async def test_the_result_says_how_the_command_was_confined(place: Place, asked: Level) -> None:
    reached = "off" if asked is Level.OFF else found().reached
    async with place.client(sandbox=asked) as client:
        result: Any = await client.call_tool("run_command", {"command": "true"})
    assert body(result)["sandbox"] == reached
    assert f"sandbox {reached}" in result.content[0].text


def test_this_machine_has_the_signals_that_results_name() -> None:
    assert signal.Signals(9).name == "SIGKILL"


async def test_a_model_is_told_that_its_background_process_was_killed(place: Place) -> None:
    alone = await run(place, "true")
    left = await run(place, "sleep 600 &")
    assert (body(alone)["background_killed"], body(left)["background_killed"]) == (False, True)
    assert "in the background was killed" in left.content[0].text


async def test_where_commands_cannot_be_confined_they_are_refused_and_other_tools_go_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Sandbox.plan`."""
    monkeypatch.setattr(sandbox, "LINUX", False)
    async with place.client(sandbox=Level.AUTO) as client:
        assert "Commands are refused here" in (client.instructions or "")
        for tool in ("run_command", "start_job"):
            refused = error(await client.call_tool(tool, {"command": "echo > ran"}))
            assert (refused["code"], refused["applied"]) == ("FAILED_PRECONDITION", "no")
            assert "Run it on Linux" in refused["hint"]
            assert "--sandbox off" in refused["hint"]
        body(await client.call_tool("write_file", {"path": "new", "content": "x"}))
    assert not (place.workspace / "ran").exists()
