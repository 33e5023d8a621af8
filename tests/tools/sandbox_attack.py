"""Run as a command: tries what a hostile one would, and prints what it could do, as JSON.

Arguments: a JSON object with the places that it is to go for.
"""

import ctypes
import errno
import fcntl
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
AIM: dict[str, Any] = json.loads(sys.argv[1])
CLONE_NEWUSER = 0x10000000


def system_call(number: int, *arguments: Any) -> Any:
    """Raises OSError when the kernel says no."""
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read(path: str) -> None:
    Path(path).read_bytes()


def write(path: str) -> None:
    with open(path, "a") as file:
        file.write("pwn\n")


def move_away(path: str) -> None:
    os.rename(path, f"{path}.old")
    os.mkdir(path)


def connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)
        one.send(b"hi")
        if kind == socket.SOCK_DGRAM:
            one.recv(10)


def type_into_terminal() -> None:
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, 0x5412, b"x")
    except OSError as e:
        if e.errno in (errno.EIO,):  # the kernel has it switched off by itself
            raise
        raise
    finally:
        os.close(ours)
        os.close(theirs)


def type_with_high_bits() -> None:
    ours, theirs = pty.openpty()
    system_call(
        16 if os.uname().machine == "x86_64" else 29, theirs, ctypes.c_ulong(0x100005412), b"x"
    )
    os.close(ours)


def fill(path: str) -> None:
    """More than a private file system in memory should take."""
    with open(f"{path}/filling", "wb") as file:
        try:
            for _ in range(1100):
                file.write(bytes(1 << 20))
        finally:
            os.unlink(file.name)


def see_pid(pid: int) -> None:
    read(f"/proc/{pid}/cmdline")
    if AIM["marker"] not in Path(f"/proc/{pid}/cmdline").read_text():
        raise OSError("another one")


def roots_of_all() -> None:
    """The state directory through the root of any process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            place = f"/proc/{name}/root{AIM['state']}/journal.db"
            try:
                read(place)
                return
            except OSError:
                continue
    raise OSError("nowhere")


def new_namespace() -> None:
    if LIBC.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")


def become_traced() -> None:
    if LIBC.ptrace(0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")


def write_first_process() -> None:
    """Of the machine, or of the room: in that it has nothing that we have not."""
    os.kill(AIM["victim"], 0)


def new_privileges() -> None:
    status = Path("/proc/self/status").read_text()
    if "NoNewPrivs:\t1" in status:
        raise OSError("no new privileges")


def capabilities() -> None:
    status = Path("/proc/self/status").read_text()
    if "CapBnd:\t0000000000000000" in status and "CapEff:\t0000000000000000" in status:
        raise OSError("none")


def family(number: int) -> Callable[[], None]:
    return lambda: socket.socket(
        number, socket.SOCK_RAW if number == 17 else socket.SOCK_DGRAM
    ).close()


def keyring() -> None:
    number = 248 if os.uname().machine == "x86_64" else 217
    system_call(number, b"user", b"surefoot-test", b"x", ctypes.c_size_t(1), ctypes.c_int(-1))


def foreign() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", AIM["root"]], check=True, capture_output=True)


TRIES: dict[str, Callable[[], None]] = {
    "read a key in the home": lambda: read(f"{AIM['home']}/.ssh/id_rsa"),
    "read outside": lambda: read(f"{AIM['outside']}/secret"),
    "read through a link": lambda: read(f"{AIM['root']}/link/secret"),
    "write outside": lambda: write(f"{AIM['outside']}/new"),
    "read the journal": lambda: read(f"{AIM['state']}/journal.db"),
    "read the journal through /proc": roots_of_all,
    "see another process": lambda: see_pid(AIM["victim"]),
    "read its environment": lambda: read(f"/proc/{AIM['victim']}/environ"),
    "signal it": write_first_process,
    "connect to a socket with a path": lambda: connect(1, 1, f"{AIM['outside']}/socket"),
    "connect to an abstract socket": lambda: connect(1, 1, "\0" + AIM["abstract"]),
    "connect to loopback": lambda: connect(2, 1, ("127.0.0.1", AIM["port"])),
    "send to loopback": lambda: connect(2, 2, ("127.0.0.1", AIM["port"])),
    "write a hook": lambda: write(f"{AIM['root']}/.git/hooks/pre-commit"),
    "make a hook": lambda: write(f"{AIM['root']}/.git/hooks/new"),
    "write the configuration": lambda: write(f"{AIM['root']}/.git/config"),
    "move the repository away": lambda: move_away(f"{AIM['root']}/.git"),
    "move the hooks away": lambda: move_away(f"{AIM['root']}/.git/hooks"),
    "remove the hooks": lambda: shutil.rmtree(f"{AIM['root']}/.git/hooks"),
    "write a hook of a repository below": lambda: write(f"{AIM['root']}/sub/.git/hooks/new"),
    "write a client's configuration": lambda: write(f"{AIM['root']}/.mcp.json"),
    "replace a client's configuration": lambda: os.replace(__file__, f"{AIM['root']}/.mcp.json"),
    "write an editor's tasks": lambda: write(f"{AIM['root']}/.vscode/tasks.json"),
    "write a start-up file": lambda: write(f"{AIM['root']}/.bashrc"),
    "write to /usr": lambda: write("/usr/pwn"),
    "write to /etc": lambda: write("/etc/pwn"),
    "write a kernel setting": lambda: os.close(
        os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)
    ),
    "fill /dev/shm": lambda: fill("/dev/shm"),
    "make a namespace": new_namespace,
    "be traced": become_traced,
    "type into a terminal": type_into_terminal,
    "type with high bits": type_with_high_bits,
    "add a key": keyring,
    "mount": foreign,
    "gain privileges": new_privileges,
    "have capabilities": capabilities,
    "packet socket": family(17),
    "vsock socket": family(40),
    "kernel crypto socket": family(38),
}


def outcomes() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, attempt in TRIES.items():
        if name in AIM["leave_out"]:
            continue
        try:
            attempt()
            found[name] = "open"
        except (OSError, subprocess.SubprocessError) as e:
            found[name] = f"blocked: {e}"
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(outcomes()))
