"""What running a command costs: its least, many at once, much output, and beside a flood.

The raw arm of the first row is what `floor:direct` is elsewhere: `bash -c true`, started and waited
for by Python, with its output through pipes.
"""

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import peers
import raw
from line_client import LineClient
from messages import Refused
from paired import WARM_UP, Absent, Arm, Row, measure
from peers import Peer
from place import Place

AT_ONCE = 15
SLEEP = f"sleep {0.2:g}"
LINES = "seq 1 100000"
WHOLE = 1_000_000
"""Bytes: more than these lines are."""
MUCH = 100_000_000
"""Bytes of much output."""
LINE = b"what a build says while it builds, one line after the other of 80 characters each\n"
FLOOD = "yes"
FEWER = 4
"""These calls take longer than others, so each round has by this factor fewer of them."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of ours, and how its commands are confined."""

    name: str
    client: LineClient | str
    """Or why there is none."""
    place: Place
    jobs: Path

    def arm(self, once: Callable[["Server", LineClient], float]) -> Arm | Absent:
        """What it does once, as an arm."""
        client = self.client
        if isinstance(client, str):
            return Absent(self.name, client)
        return Arm(self.name, lambda: once(self, client))

    def run(self, client: LineClient, command: str, **more: Any) -> float:
        """Run a command under a new key; its seconds."""
        return client.call("run_command", {"command": command, **more}, self.place.new_key())

    def many(self, client: LineClient, command: str) -> float:
        """Run it many times at once."""
        keys = [self.place.new_key() for _ in range(AT_ONCE)]
        return client.crowd("run_command", {"command": command}, keys)

    def kept(self, client: LineClient, command: str) -> float:
        """Run what prints much; it is not left on the disk, or rounds would fill that."""
        elapsed, result = self._ask(client, "run_command", command=command)
        told = result["structuredContent"]
        if told["stdout_bytes"] != MUCH:
            raise Refused(f"{told['stdout_bytes']} bytes of {MUCH} came")
        shutil.rmtree(self.jobs / told["job_id"])
        return elapsed

    def beside_a_flood(self, client: LineClient) -> float:
        """Run `true` while a job prints all it can."""
        _, result = self._ask(client, "start_job", command=FLOOD)
        job = result["structuredContent"]["job_id"]
        read = {"job_id": job, "wait": 10, "max_output": 256}
        client.call("read_job", read)  # comes back when it prints
        elapsed = self.run(client, "true")
        self._ask(client, "stop_job", job_id=job, signal="KILL")
        shutil.rmtree(self.jobs / job)
        return elapsed

    def _ask(self, client: LineClient, tool: str, **arguments: Any) -> tuple[float, dict[str, Any]]:
        key = self.place.new_key()
        return client.answer("tools/call", key, name=tool, arguments=arguments)


def shell_rows(
    place: Place, commands: dict[str, str], rounds: int, calls: int, bound: float
) -> list[Row]:
    """The rows of the shell.

    Args:
        place: Where the servers run.
        commands: Of peers, by name.
        rounds: How many at most.
        calls: Of each arm in each round, where one takes no longer than elsewhere.
        bound: Seconds after which no other round of a row begins.
    """
    much = place.workspace / "much.txt"
    much.write_bytes((LINE * (MUCH // len(LINE) + 1))[:MUCH])
    with ExitStack() as stack:
        off = _server(stack, place, "surefoot", "off")
        room = _server(stack, place, "surefoot: bubblewrap", "bubblewrap")
        landlock = _server(stack, place, "surefoot: landlock", "landlock")
        bare = stack.enter_context(place.bare())
        others = peers.started(stack, commands, place.folder / "peers", place.workspace)
        some = max(1, calls // FEWER)
        rows = [
            (_least(off, room, landlock, bare, others), some, 2 * bound, WARM_UP),
            (_at_once(off, room, bare, others), 1, bound, 1),
            (_lines(off, room, bare, others), 1, bound, 1),
            (_much(off, room, place, much), 1, bound, 1),
            (_flood(off, room), 1, bound, 1),
        ]
        return [
            measure(name, arms, rounds=rounds, calls=each, bound=most, warm_up=warm_up)
            for (name, arms), each, most, warm_up in rows
        ]


def _server(stack: ExitStack, place: Place, name: str, sandbox: str) -> Server:
    """A server whose commands are confined in that way, if this machine can."""
    client = stack.enter_context(place.confined(sandbox))
    found: LineClient | str = client
    try:
        about = place.new_key()
        arguments = {"command": "true"}
        _, result = client.answer("tools/call", about, name="run_command", arguments=arguments)
        reached = result["structuredContent"]["sandbox"]
        if reached != sandbox:
            found = f"the server confines by {reached}"
    except Refused as e:
        found = str(e).replace("\n", " ")
    return Server(name, found, place, place.state(sandbox) / "jobs")


def _least(
    off: Server, room: Server, landlock: Server, bare: LineClient, others: list[Peer]
) -> tuple[str, list[Arm | Absent]]:
    command = "true"
    argv = ["bash", "-c", command]
    anew = Server("surefoot: without a key", off.client, off.place, off.jobs)
    return (
        f'run_command "{command}": by the shell, keyed',
        [
            off.arm(lambda server, client: server.run(client, command)),
            Arm("bare SDK: run", lambda: bare.call("run", {"argv": argv})),
            Arm("raw: bash by subprocess.run", raw.timed(lambda: raw.run(argv))),
            room.arm(lambda server, client: server.run(client, command)),
            landlock.arm(lambda server, client: server.run(client, command)),
            anew.arm(lambda _, client: client.call("run_command", {"command": command})),
            *(each.arm(command) for each in others),
        ],
    )


def _at_once(
    off: Server, room: Server, bare: LineClient, others: list[Peer]
) -> tuple[str, list[Arm | Absent]]:
    argv = ["bash", "-c", SLEEP]
    nothing: list[dict[str, Any]] = [{}] * AT_ONCE
    return (
        f'{AT_ONCE} x run_command "{SLEEP}" at once',
        [
            off.arm(lambda server, client: server.many(client, SLEEP)),
            Arm("bare SDK: run", lambda: bare.crowd("run", {"argv": argv}, nothing)),
            Arm("raw: bash by subprocess", raw.timed(lambda: raw.run_many(argv, AT_ONCE))),
            room.arm(lambda server, client: server.many(client, SLEEP)),
            *(each.arm(SLEEP, AT_ONCE) for each in others),
        ],
    )


def _lines(
    off: Server, room: Server, bare: LineClient, others: list[Peer]
) -> tuple[str, list[Arm | Absent]]:
    argv = ["bash", "-c", LINES]
    return (
        f'run_command "{LINES}": 589 kB, all of it in the answer',
        [
            off.arm(lambda server, client: server.run(client, LINES, max_output=WHOLE)),
            Arm("bare SDK: run", lambda: bare.call("run", {"argv": argv})),
            Arm("raw: bash by subprocess.run", raw.timed(lambda: raw.run(argv))),
            room.arm(lambda server, client: server.run(client, LINES, max_output=WHOLE)),
            *(each.arm(LINES) for each in others),
        ],
    )


def _much(off: Server, room: Server, place: Place, much: Path) -> tuple[str, list[Arm | Absent]]:
    command, copy = f"cat {much.name}", place.folder / "copy"

    def piped() -> None:
        raw.piped(["cat", str(much)], copy)
        copy.unlink()

    return (
        f"{MUCH // 1_000_000} MB of output: kept on disk up to the quota, an excerpt answered",
        [
            off.arm(lambda server, client: server.kept(client, command)),
            Arm("raw: by a pipe into a file", raw.timed(piped)),
            room.arm(lambda server, client: server.kept(client, command)),
        ],
    )


def _flood(off: Server, room: Server) -> tuple[str, list[Arm | Absent]]:
    def beside() -> float:
        with subprocess.Popen([FLOOD], stdout=subprocess.DEVNULL) as flood:
            began = perf_counter()
            raw.run(["bash", "-c", "true"])
            elapsed = perf_counter() - began
            flood.kill()
        return elapsed

    return (
        f'run_command "true" beside a job that runs {FLOOD}',
        [
            off.arm(lambda server, client: server.beside_a_flood(client)),
            Arm(f"raw: bash beside {FLOOD} to nowhere", beside),
            room.arm(lambda server, client: server.beside_a_flood(client)),
        ],
    )
