"""What must hold of commands whatever they do: through a real server, confined and not.

One server plays all cases of a level, so that what one leaves behind would be seen in the next.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import begun
from tests.support.level import found
from tests.support.place import Place
from tests.support.until import until
from tests.support.wire import ENVELOPE, Wire, wire
from tests.tools.shell_door import DAEMONS, new_marker

from surefoot_tools.sandbox.sandbox import Level, Reached

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc"),
]
MEMORY = 150 * 1024 * 1024
"""Bytes that the server may have taken at any time."""
FLOODS = 64 * 1024 * 1024
"""Bytes that floods may take of memory, in the server and in all supervisors."""
TIMEOUT, PATIENCE = 2.0, 15.0
"""Seconds for what would never end, and for what ends by itself."""


@dataclass(frozen=True)
class Case:
    """A command, and what is true of it. `{it}` in it names its processes by their arguments."""

    command: str
    true: Callable[[dict[str, Any]], bool]
    """Of its result, or of its error."""
    confined: bool = False
    """Whether nobody should run it otherwise."""
    only_off: bool = False

    @property
    def endless(self) -> bool:
        """Whether nobody should wait for its end."""
        return self.true in (timed_out, ended, anything)


def timed_out(told: dict[str, Any]) -> bool:
    return (told.get("code"), told.get("applied")) == ("DEADLINE_EXCEEDED", "yes")


def ended(told: dict[str, Any]) -> bool:
    """By itself, or by its timeout: a bomb may do either."""
    return timed_out(told) or told.get("exit_code") != 0 or told.get("signal") is not None


def anything(told: dict[str, Any]) -> bool:
    """A bomb may also take itself for done."""
    return bool(told)


def cleared(told: dict[str, Any]) -> bool:
    return told.get("exit_code") == 0 and told["background_killed"]


CASES = {
    **{name: Case(line.format(it="sleep {it}") + "\n:", cleared) for name, line in DAEMONS.items()},
    "nohup": Case("nohup sleep {it} > /dev/null 2>&1 &", cleared),
    "disown": Case("sleep {it} & disown", cleared),
    "holds stdout": Case("sleep {it} &", cleared),
    "yes": Case("exec yes {it}", timed_out),
    "zeros": Case("exec cat /dev/zero", timed_out),
    "fork bomb": Case(":(){ :|:& };:", anything, confined=True),
    "many": Case("for n in $(seq 200); do sleep {it} & done; wait", timed_out),
    "memory bomb": Case(
        f"exec {sys.executable} -c 'b=[]\nwhile 1: b.append(bytearray(1<<26))'",
        ended,
        confined=True,
    ),
    "memory": Case("head -c 300000000 /dev/zero | tail -n 1 | wc -c", lambda told: (
        told.get("stdout") == "300000000\n"
    ), only_off=True),
    "waits for input": Case("cat; read line; echo $?", lambda told: told.get("stdout") == "1\n"),
    "one line": Case(
        "head -c 10000000 /dev/zero | tr '\\0' x",
        lambda told: (
            told.get("exit_code") == 0
            and told["stdout_bytes"] == 10_000_000
            and told["truncated"]
            and len(told["stdout"]) < 20_000
        ),
    ),
    "setuid": Case("cp $(command -v sleep) s; chmod 6755 s; exec ./s {it}", timed_out),
    "deaf": Case("trap '' TERM INT HUP QUIT; sleep {it}; sleep {it}", timed_out),
    "kills all": Case("kill -9 -1; sleep {it}", ended, confined=True),
}  # fmt: skip


async def run(server: Wire, number: int | str, command: str, **more: Any) -> dict[str, Any]:
    """The result or the error of a command, as a flat dict."""
    reply = await server.call(number, "run_command", command=command, **more)
    return told(reply)


def told(reply: dict[str, Any]) -> dict[str, Any]:
    result = reply["result"]
    return result.get("structuredContent") or result["_meta"]["dev.surefoot/error"]


def marked(marker: str) -> list[int]:
    """Processes that run with the marker among their arguments or variables."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                if marker.encode() in seen and int(process.name) != os.getpid():
                    found.append(int(process.name))
    return found


def figure(pid: int, name: str) -> int:
    """Bytes, of a line of proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def private(pid: int) -> int:
    """Bytes of memory that a process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


@pytest.fixture(params=[Level.AUTO, Level.OFF])
def level(request: pytest.FixtureRequest) -> Level:
    if request.param is Level.AUTO and found().reached is Reached.REFUSED:
        pytest.skip(f"commands cannot be confined here: {found().reason}")
    return request.param


async def test_whatever_a_command_does_its_call_ends_and_nothing_survives(
    place: Place, level: Level
) -> None:
    """Guard: `Room.end`, the limits of `enter`, `Supervisor._watch` and `Sink`."""
    wrong: dict[str, Any] = {}
    room = level is Level.AUTO and found().reached is Reached.BUBBLEWRAP
    async with wire(place, "--sandbox", level.value) as server:
        await server.ask("hello", "server/discover")
        for number, (name, case) in enumerate(CASES.items()):
            if (case.confined and not room) or (case.only_off and level is Level.AUTO):
                continue
            marker = new_marker()
            line = case.command.replace("{it}", marker)
            limit = TIMEOUT if case.endless else PATIENCE
            answer = await run(server, number, line, timeout=limit, env={"MARK": marker})
            if not case.true(answer):
                wrong[name] = answer
            left = marked(marker)
            if left:
                wrong[f"{name} survives"] = left
        assert (await run(server, 1000, "echo fine"))["stdout"] == "fine\n"
        assert wrong == {}
        assert server.process.returncode is None
        assert figure(server.process.pid, "VmHWM") < MEMORY


async def test_fifteen_commands_run_side_by_side(place: Place, level: Level) -> None:
    """Each waits for all others: in turns they would wait for ever."""
    command = "touch up-$N; until [ $(ls | grep -c up-) -eq 15 ]; do sleep 0.05; done; echo $N"
    async with wire(place, "--sandbox", level.value) as server:
        await server.ask("hello", "server/discover")
        for number in range(15):
            await send(server, number, command=command, env={"N": str(number)})
        answers = [await server.receive() for _ in range(15)]
    assert {each["id"]: told(each)["stdout"] for each in answers} == {
        number: f"{number}\n" for number in range(15)
    }


async def test_beyond_the_queue_commands_are_refused_and_the_others_run(place: Place) -> None:
    """Guard: `Places._take`."""
    go = place.workspace / "go"
    async with wire(place) as server:
        await server.ask("hello", "server/discover")
        for number in range(140):
            await send(server, number, command="until [ -e go ]; do sleep 0.1; done; echo ran")
        refused = [told(await server.receive()) for _ in range(12)]
        assert {each["code"] for each in refused} == {"RESOURCE_EXHAUSTED"}
        assert {each["applied"] for each in refused} == {"no"}
        assert "32 commands run and 96 wait" in refused[0]["message"]
        go.touch()
        others = [told(await server.receive()) for _ in range(128)]
    assert {each.get("stdout") for each in others} == {"ran\n"}


async def test_floods_delay_no_other_answer_and_take_little_memory(
    place: Place, level: Level
) -> None:
    """Guard: `Sink` and `Pieces`: neither end holds more than it is to show."""
    async with wire(place, "--sandbox", level.value) as server:
        await server.ask("hello", "server/discover")
        assert (await run(server, "up", "echo up"))["stdout"] == "up\n"
        before = figure(server.process.pid, "VmRSS")
        for number in range(15):
            await send(server, number, command="exec yes", timeout=60, wait=60)
        jobs = place.config.state / "jobs"

        def flood() -> list[dict[str, Any]]:
            running = [each for each in begun(jobs) if each["command"] == "exec yes"]
            return [each for each in running if private_or_none(each["supervisor"]) is not None]

        await until(lambda: len(flood()) == 15)
        for number in range(3):
            answer = await server.call(f"small-{number}", "run_command", command="echo small")
            # The floods still run: they would have been answered.
            assert answer["id"] == f"small-{number}"
            assert told(answer)["stdout"] == "small\n"
        taken = figure(server.process.pid, "VmRSS") - before
        taken += sum(private_or_none(each["supervisor"]) or 0 for each in flood())
        assert taken < FLOODS, taken
        for number in range(15):
            cancel = {"requestId": number}
            method = "notifications/cancelled"
            await server.send({"jsonrpc": "2.0", "method": method, "params": cancel})
        await until(lambda: flood() == [])
        assert figure(server.process.pid, "VmHWM") < MEMORY


def private_or_none(pid: int) -> int | None:
    """The same of what may have ended."""
    with suppress(OSError):
        return private(pid)
    return None


async def send(server: Wire, number: int, **arguments: Any) -> None:
    """Send a command and wait for nothing."""
    params = {"name": "run_command", "arguments": arguments, "_meta": ENVELOPE}
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    await server.write(json.dumps(message).encode() + b"\n")
