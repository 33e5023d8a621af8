"""A server process over HTTP: started once for all, again when it died, ended with its driver."""

import json
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from mcp.client.stdio import get_default_environment
from tests.client.mini_suite import write_suite
from tests.support.until import until, until_asked

from surefoot_client.connection import Answer, Lost, connect
from surefoot_client.listener import LISTEN, listening
from surefoot_client.process import ServerProcess
from surefoot_client.record import LostReason

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def foreign(folder: Path) -> ServerProcess:
    script = Path(__file__).with_name("foreign_server.py")
    argv = [sys.executable, str(script), "--http", LISTEN]
    return ServerProcess(argv, folder, get_default_environment(), folder / "server.log")


async def test_a_server_that_dies_is_started_once_for_all_on_its_port_and_their_clients_stay(
    tmp_path: Path,
) -> None:
    async with (
        listening(foreign(tmp_path)) as listener,
        connect(listener) as one,
        connect(listener) as two,
    ):
        assert listener.starts == 1
        url = listener.url
        ended = await one.call("die", {}, "r:t:1:0", 1)
        assert isinstance(ended, Lost)
        assert ended.reason is LostReason.CLOSED
        gone = await two.call("echo", {}, "r:t:1:1", 1)
        assert isinstance(gone, Lost)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.respawn)
            tasks.start_soon(two.respawn)
        assert (listener.starts, listener.url) == (2, url)
        for number, connection in enumerate((one, two), 1):
            answer = await connection.call("count", {}, f"r:t:2:{number}", 1)
            assert isinstance(answer, Answer)
            assert answer.structured == {"count": number}
    assert not await listens(url)
    # once a client: a 2026 client has no handshake to do again
    assert (tmp_path / "lists").read_text() == "once\n" * 2


async def test_a_server_whose_port_was_taken_meanwhile_comes_back_on_another(
    tmp_path: Path,
) -> None:
    async with listening(foreign(tmp_path)) as listener, connect(listener) as connection:
        taken = urlsplit(listener.url).port or 0
        await connection.call("die", {}, "r:t:1:0", 1)
        await until(lambda: not listener.runs)
        with squat(taken):
            await connection.respawn()
        assert urlsplit(listener.url).port != taken
        assert isinstance(await connection.call("echo", {}, "r:t:1:1", 1), Answer)


async def test_a_server_over_http_ends_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    """Guard: `keeper.py`."""
    suite = write_suite(tmp_path / "suite", [[("sleep", {}, {})]])
    script = Path(__file__).with_name("foreign_server.py")
    out = tmp_path / "run"
    argv = [sys.executable, "-m", "surefoot_cli", "run", str(suite), "--model", "scripted"]
    argv += ["--transport", "http", "--out", str(out), "--", sys.executable, str(script)]
    driver = await anyio.open_process([*argv, "--http", LISTEN])
    try:
        log = out / "records.jsonl"
        await until(lambda: log.exists() and '"kind":"send"' in log.read_text(), bound=60)
        (line,) = (out / "server.log").read_text().splitlines()
        url = json.loads(line)["url"]
        assert await listens(url)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        await driver.wait()
        await driver.aclose()
    await until_asked(partial(silent, url), bound=60)


async def listens(url: str) -> bool:
    """Whether somebody takes connections there."""
    parts = urlsplit(url)
    try:
        stream = await anyio.connect_tcp(parts.hostname or "", parts.port or 0)
    except OSError:
        return False
    await stream.aclose()
    return True


async def silent(url: str) -> bool:
    """Whether nobody does."""
    return not await listens(url)


def squat(port: int) -> socket.socket:
    """Listen on a port whose last owner has died."""
    squatter = socket.socket()
    squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    squatter.bind(("127.0.0.1", port))
    squatter.listen()
    return squatter
