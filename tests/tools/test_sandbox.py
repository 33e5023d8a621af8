"""The sandbox: what a hostile command can do in it, and that results stay true in it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.tools.shell_door import Door, new_marker, survivors

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.sandbox import reasons, sandbox
from surefoot_tools.sandbox.plan import Limits
from surefoot_tools.sandbox.sandbox import Level, Reached, Sandbox

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="commands are confined on Linux only"),
]
ATTACK = Path(__file__).with_name("sandbox_attack.py")
DANGEROUS = ("fill /dev/shm", "mount", "move the repository away", "move the hooks away")
"""Not tried unconfined: they would spoil the place of those that come after, or the machine."""
WEAKER = {
    "see another process": "landlock hides no process",
    "fill /dev/shm": "nothing of /dev/shm may be written to, so it is never open",
    **dict.fromkeys(
        (
            "write a hook", "make a hook", "write the configuration", "move the repository away",
            "move the hooks away", "remove the hooks", "write a hook of a repository below",
            "write a client's configuration", "replace a client's configuration",
            "write an editor's tasks", "write a start-up file",
        ),
        "landlock has no rule that takes away",
    ),
}  # fmt: skip
"""What landlock does not keep from commands."""


class Ground:
    """A workspace with what is worth an attack, in it and around it."""

    def __init__(self, top: Path, held: ExitStack) -> None:
        self.root, self.outside = top / "root", top / "outside"
        self.home, self.state = top / "home", top / "state"
        for folder in (self.root, self.outside, self.home / ".ssh", self.state):
            folder.mkdir(parents=True)
        for repository in (self.root, self.root / "sub"):
            (repository / ".git" / "hooks").mkdir(parents=True)
            (repository / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\n")
            (repository / ".git" / "config").write_text("[core]\n")
        for name in (".mcp.json", ".bashrc", ".vscode/tasks.json"):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text("{}")
        (self.root / "link").symlink_to(self.outside)
        for secret in (self.outside / "secret", self.home / ".ssh" / "id_rsa"):
            secret.write_text("s3cret")
        (self.state / "journal.db").write_text("s3cret")
        self.tries = self.root / "tries.py"
        self.tries.write_bytes(ATTACK.read_bytes())
        self.abstract = f"surefoot-{os.urandom(8).hex()}"
        unix, hidden = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
        for each in (unix, hidden, tcp, udp):
            held.enter_context(each)
        unix.bind(str(self.outside / "socket"))
        unix.listen()
        hidden.bind("\0" + self.abstract)
        hidden.listen()
        udp.bind(tcp.getsockname())
        self.port = tcp.getsockname()[1]
        self.marker = new_marker()
        self.victim = subprocess.Popen(["sleep", self.marker])
        held.callback(self.victim.wait)
        held.callback(self.victim.kill)

    def sandbox(self, level: Level, **more: Any) -> Sandbox:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        return Sandbox(level, [self.root], [self.state], environment, **more)

    def command(self, *left_out: str) -> list[str]:
        aim = {
            "root": str(self.root),
            "outside": str(self.outside),
            "home": str(self.home),
            "state": str(self.state),
            "abstract": self.abstract,
            "port": self.port,
            "victim": self.victim.pid,
            "marker": self.marker,
            "leave_out": left_out,
        }
        return [interpreter(), str(self.tries), json.dumps(aim)]


def interpreter() -> str:
    """A Python that is there in a room, too: that of the machine, if it has one."""
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


@pytest.fixture
def ground(tmp_path: Path) -> Generator[Ground, None, None]:
    with ExitStack() as held:
        yield Ground(tmp_path, held)


def works(one: Sandbox, wanted: Reached) -> Sandbox:
    if one.reached is not wanted:
        pytest.skip(f"{wanted} does not work here: {one.reason}")
    return one


def landlock(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox that finds no bubblewrap."""
    monkeypatch.setattr(Sandbox, "program", None)
    return works(ground.sandbox(Level.AUTO), Reached.LANDLOCK)


def door(ground: Ground, one: Sandbox | None) -> Door:
    return Door(ground.root, ground.state / "jobs", sandbox=one)


async def opened(place: Door, command: list[str]) -> set[str]:
    """What the attack could do."""
    result = await place.run(command=command, max_output=65536)
    assert result.exit_code == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)
    return {name for name, what in found.items() if what == "open"}


async def test_in_a_room_no_attack_gets_out(ground: Ground) -> None:
    """Guard: `plan.bubblewrap`, `enter._protect`, `enter._hold` and `filter.program`."""
    one = works(ground.sandbox(Level.STRICT), Reached.BUBBLEWRAP)
    assert await opened(door(ground, one), ground.command()) == set()
    assert (ground.root / ".git" / "hooks" / "pre-commit").read_text() == "#!/bin/sh\n"


async def test_landlock_keeps_what_it_can(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `landlock.restrict`, and the families of `plan.by_landlock`."""
    one = landlock(ground, monkeypatch)
    found = await opened(door(ground, one), ground.command(*DANGEROUS[1:]))
    assert found <= set(WEAKER), found
    assert not list(Path("/tmp").glob(f"surefoot-{os.getuid()}-*-left"))


async def test_without_a_sandbox_the_same_attacks_get_out(ground: Ground) -> None:
    found = await opened(door(ground, None), ground.command(*DANGEROUS))
    assert {
        "read a key in the home", "read outside", "read through a link", "write outside",
        "read the journal", "see another process", "read its environment", "signal it",
        "connect to a socket with a path", "connect to an abstract socket", "connect to loopback",
        "write a hook", "write the configuration", "remove the hooks", "write a start-up file",
        "be traced", "gain privileges",
    } <= found  # fmt: skip


async def test_with_the_network_only_that_is_open(ground: Ground) -> None:
    """Guard: `landlock.scope`: with the network come the abstract sockets of others."""
    one = works(ground.sandbox(Level.STRICT, network=True), Reached.BUBBLEWRAP)
    found = await opened(door(ground, one), ground.command("send to loopback"))
    assert found == {"connect to loopback"}


async def test_results_are_those_of_the_command_itself(ground: Ground) -> None:
    """Guard: `kernel.sibling`: a child of bubblewrap would be told by bubblewrap."""
    one = works(ground.sandbox(Level.STRICT), Reached.BUBBLEWRAP)
    place = door(ground, one)
    killed = await place.run(command="kill -TERM $$")
    assert (killed.signal, killed.exit_code, killed.sandbox) == ("SIGTERM", None, "bubblewrap")
    status = await place.run(command="exit 143")
    assert (status.signal, status.exit_code) == (None, 143)
    marker = new_marker()
    left = await place.run(command=f"(setsid sleep {marker} >/dev/null 2>&1 &); exit 3")
    assert (left.exit_code, left.background_killed) == (3, True)
    assert survivors(marker) == []
    assert not (await place.run(command="true & wait")).background_killed
    for program, code in {
        "no-such-program": Code.NOT_FOUND,
        str(ground.root / ".bashrc"): Code.PERMISSION_DENIED,
    }.items():
        with pytest.raises(ToolError) as caught:
            await place.run(command=[program])
        assert caught.value.code is code


async def test_a_link_in_place_of_a_protected_folder_shows_nothing(ground: Ground) -> None:
    """Guard: paths of the roots are looked up in the room, by `enter._protect`."""
    one = works(ground.sandbox(Level.STRICT), Reached.BUBBLEWRAP)
    (ground.root / ".idea").symlink_to(ground.home / ".ssh")
    found = await door(ground, one).run(command="cat .idea/id_rsa")
    assert "s3cret" not in found.stdout
    assert found.exit_code == 1


async def test_what_cannot_be_confined_is_refused_with_the_way_out(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Sandbox.plan`."""
    monkeypatch.setattr(sandbox, "LINUX", False)
    with pytest.raises(ToolError) as caught:
        await door(ground, ground.sandbox(Level.AUTO)).run(command="echo > ran")
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert "--sandbox off" in (caught.value.hint or "")
    assert not (ground.root / "ran").exists()


async def test_strict_takes_no_second_best(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the level in `Sandbox._begin_probe`."""
    monkeypatch.setattr(Sandbox, "program", None)
    one = ground.sandbox(Level.STRICT)
    assert (one.reached, one.reason) == (Reached.REFUSED, "bubblewrap is not installed")
    assert "apt install bubblewrap" in (one.fix or "")


def test_a_bubblewrap_in_a_root_is_not_used(ground: Ground) -> None:
    """Guard: `Sandbox.program`."""
    planted = ground.root / "bwrap"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    one = Sandbox(Level.OFF, [ground.root], [], {"PATH": str(ground.root)})
    assert one.program != str(planted)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces=15000"),
    ],
)
def test_the_fix_names_the_setting_of_the_kernel(
    tmp_path: Path, setting: str, value: str, says: str
) -> None:
    (tmp_path / setting).parent.mkdir(parents=True)
    (tmp_path / setting).write_text(f"{value}\n")
    reason = reasons.why("bwrap: setting up uid map: Permission denied", missing=False)
    assert says.replace("unprivileged_userns=0", "restrict_unprivileged_userns=0") in reasons.fix(
        reason, tmp_path
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "bomb",
    [
        ":(){ :|:& };:",
        "while :; do sleep 1000 & done",
        "exec yes",
        "cat /dev/zero",
        "tr '\\0' x < /dev/zero | tail -n 1",
        "i=0; while :; do i=$((i+1)); head -c 100000000 /dev/zero > /tmp/$i || sleep 60; done",
    ],
)
async def test_a_bomb_ends_by_its_deadline_and_leaves_nothing(ground: Ground, bomb: str) -> None:
    """Guard: the limits of `enter`, `BubblewrapRoom.end`."""
    limits = Limits(processes=200, memory=256 * 1024 * 1024)
    one = works(ground.sandbox(Level.STRICT, limits=limits), Reached.BUBBLEWRAP)
    marker = new_marker()
    place = door(ground, one)
    before, size = pids(), resident()
    with pytest.raises(ToolError) as caught:
        result = await place.run(command=f"exec 3<<< {marker}; {bomb}", timeout=3)
        raise ToolError(Code.DEADLINE_EXCEEDED, f"it ended by itself: {result.exit_code}")
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert not [pid for pid in pids() - before if marker in arguments(pid)]
    assert (await place.run(command="echo fine")).stdout == "fine\n"
    assert resident() - size < 50 * 1024 * 1024


def pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def resident() -> int:
    """Bytes of memory of this process, which is the server (and has had other tests in it)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
