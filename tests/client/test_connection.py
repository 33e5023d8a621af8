"""The driver's connection, against a real stdio server that is not ours."""

import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.stdio import get_default_environment

from surefoot_client.connection import Answer, Lost, OnSend, Unreachable, connect
from surefoot_client.record import LostReason
from surefoot_client.transport import LineReader, LineTooLong, ServerProcess
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

FOREIGN = Path(__file__).with_name("foreign_server.py")


def foreign(folder: Path) -> ServerProcess:
    return ServerProcess(
        argv=[sys.executable, str(FOREIGN)],
        cwd=folder,
        environment=get_default_environment(),
        log=folder / "server.log",
    )


async def test_a_call_is_answered_with_its_structured_result(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        answer = await connection.call("echo", {"a": [1, None]}, "r:t:1:0", 1)
    assert isinstance(answer, Answer)
    assert not answer.is_error
    assert answer.structured == {"arguments": {"a": [1, None]}}
    assert answer.disposition is None
    assert (tmp_path / "server.log").read_text() == "a foreign server starts\n"


@pytest.mark.slow
async def test_the_tools_are_listed_once_whatever_is_called(tmp_path: Path) -> None:
    """Guard: `Connection._exchange` goes by the session, not by `Client.call_tool`."""
    async with connect(foreign(tmp_path)) as connection:
        assert list(connection.tools) == ["echo", "count", "big", "sleep", "die", "fail"]
        for name in ("echo", "fail", "unlisted"):
            await connection.call(name, {}, f"r:t:1:{name}", 1)
        await connection.respawn()
        await connection.call("echo", {}, "r:t:1:4", 1)
    assert (tmp_path / "lists").read_text() == "once\n"


async def test_an_error_of_a_tool_and_a_refused_request_are_told_apart(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        failed = await connection.call("fail", {}, "r:t:1:0", 1)
        refused = await connection.call("unlisted", {}, "r:t:1:1", 1)
    assert isinstance(failed, Answer)
    assert failed.is_error
    assert failed.protocol_error is None
    assert failed.text == "it failed"
    assert isinstance(refused, Answer)
    assert refused.is_error
    assert refused.protocol_error is not None


async def test_a_server_that_dies_is_lost_as_closed_and_comes_back_when_asked(
    tmp_path: Path,
) -> None:
    async with connect(foreign(tmp_path)) as connection:
        lost = await connection.call("die", {}, "r:t:1:0", 1)
        assert isinstance(lost, Lost)
        assert lost.reason is LostReason.CLOSED
        assert not connection.alive
        unsent = await connection.call("echo", {}, "r:t:1:1", 1)
        assert isinstance(unsent, Lost)
        assert unsent.reason is LostReason.UNREACHABLE
        await connection.respawn()
        assert connection.alive
        assert isinstance(await connection.call("echo", {}, "r:t:1:1", 2), Answer)


async def test_a_slow_answer_is_lost_as_a_timeout_and_the_connection_stands(
    tmp_path: Path,
) -> None:
    async with connect(foreign(tmp_path), call_timeout=0.2) as connection:
        lost = await connection.call("sleep", {}, "r:t:1:0", 1)
        assert isinstance(lost, Lost)
        assert lost.reason is LostReason.TIMEOUT
        assert connection.alive
        (tmp_path / "go").touch()


@pytest.mark.slow
async def test_a_cut_pipe_is_lost_as_closed(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        lost = await connection.call("echo", {}, "r:t:1:0", 1, OnSend(cut=True))
        assert isinstance(lost, Lost)
        assert lost.reason is LostReason.CLOSED
        assert not connection.alive
        await connection.respawn()
        assert isinstance(await connection.call("echo", {}, "r:t:1:0", 2), Answer)


async def test_a_dropped_answer_leaves_the_effect_behind(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        lost = await connection.call("count", {}, "r:t:1:0", 1, OnSend(drop=True))
    assert isinstance(lost, Lost)
    assert lost.reason is LostReason.DROPPED
    assert (tmp_path / "counted").read_text() == "once\n"


async def test_calls_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    seen: dict[int, Answer | Lost] = {}

    async def one(number: int) -> None:
        seen[number] = await connection.call("echo", {"n": number}, f"r:t:1:{number}", 1)

    async with connect(foreign(tmp_path)) as connection, anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    for number, answer in seen.items():
        assert isinstance(answer, Answer)
        assert answer.structured == {"arguments": {"n": number}}


async def test_only_what_a_foreign_server_declares_may_be_repeated(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        assert connection.effect_of("echo") is Effect.SAFE
        assert connection.effect_of("count") is Effect.AT_MOST_ONCE
        assert connection.effect_of("unlisted") is Effect.AT_MOST_ONCE
        connection.keyed = True
        assert connection.effect_of("count") is Effect.IDEMPOTENT


async def test_a_program_that_is_no_server_is_unreachable(tmp_path: Path) -> None:
    for argv, said in (
        (["/nonexistent/server"], "did not start"),
        ([sys.executable, "-c", "pass"], "did not start"),
        (
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            "did not list its tools within 1 s",
        ),
    ):
        server = ServerProcess(argv, tmp_path, get_default_environment(), tmp_path / "log")
        with pytest.raises(Unreachable, match=said):
            async with connect(server, connect_timeout=1.0):
                pass


async def test_an_error_in_the_block_comes_out_as_it_was_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with connect(foreign(tmp_path)):
            raise KeyError("mine")


@given(st.lists(st.binary(max_size=20).filter(lambda part: b"\n" not in part)), st.data())
def test_lines_come_out_as_they_went_in_however_the_bytes_are_cut(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    reader, found, position = LineReader(limit=20), list[bytes](), 0
    while position < len(whole):
        step = data.draw(st.integers(1, len(whole) - position))
        found += reader.feed(whole[position : position + step])
        position += step
    assert found == lines


def test_a_line_at_the_bound_passes_and_a_longer_one_does_not() -> None:
    assert list(LineReader(limit=4).feed(b"1234\n")) == [b"1234"]
    with pytest.raises(LineTooLong):
        list(LineReader(limit=4).feed(b"12345\n"))
    with pytest.raises(LineTooLong):
        list(LineReader(limit=4).feed(b"12345"))


async def test_a_long_reply_is_read_whole(tmp_path: Path) -> None:
    async with connect(foreign(tmp_path)) as connection:
        answer = await connection.call("big", {"size": 4_000_000}, "r:t:1:0", 1)
    assert isinstance(answer, Answer)
    assert len(answer.text) == 4_000_000


async def test_what_runs_on_after_a_timeout_is_joined_under_its_key(tmp_path: Path) -> None:
    """Guard: `transport._is_cancel`; the SDK's courtesy cancel would stop what we come back for."""
    own = [sys.executable, "-P", "-m", "surefoot_cli", "serve", "--root", str(tmp_path)]
    state = {"SUREFOOT_HOME": str(tmp_path.with_name("state"))}
    server = ServerProcess(
        own, tmp_path, {**get_default_environment(), **state}, tmp_path.with_name("log")
    )
    command = {"command": "echo once >> ran; while [ ! -e go ]; do sleep 0.05; done; cat ran"}
    async with connect(server, call_timeout=0.3) as connection:
        lost = await connection.call("run_command", command, "r:t:1:0", 1)
        assert isinstance(lost, Lost)
        assert lost.reason is LostReason.TIMEOUT
        (tmp_path / "go").touch()
        answer: Answer | Lost = lost
        attempt = 1
        while isinstance(answer, Lost):
            attempt += 1
            answer = await connection.call("run_command", command, "r:t:1:0", attempt)
    assert not answer.is_error, answer
    assert answer.structured is not None
    assert answer.structured["stdout"] == "once\n"
