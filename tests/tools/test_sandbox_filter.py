"""The seccomp filter as a table: each call that it refuses, on each machine, and the rest."""

import errno
import struct

import pytest

from surefoot_tools.sandbox import filter as seccomp

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SPECIAL = {
    "x86_64": {"clone": 56, "unshare": 272, "personality": 135, "ioctl": 16, "socket": 41},
    "aarch64": {"clone": 220, "unshare": 97, "personality": 92, "ioctl": 29, "socket": 198},
}
ORDINARY = {
    "x86_64": (0, 1, 2, 9, 39, 42, 53, 57, 59, 61, 257, 262, 317, 424, 437, 444),
    "aarch64": (63, 64, 56, 222, 172, 203, 199, 221, 260, 79, 277, 424, 437, 444),
}
"""read, write, open, mmap, getpid, connect, socketpair, fork, exec, wait, stat and more."""
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)
UNIX = (1, 2, 10, 16)
machines = pytest.mark.parametrize("machine", list(AUDIT))


def verdict(
    code: bytes, machine: str, number: int, *arguments: int, architecture: int | None = None
) -> int:
    """What the filter says: 0 to allow, or an errno. Runs it as the kernel does."""
    found = AUDIT[machine] if architecture is None else architecture
    filled = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, found, 0, *filled)
    lines = [struct.unpack("<HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    word, at = 0, 0
    while True:
        operation, then, otherwise, constant = lines[at]
        at += 1
        match operation:
            case 0x20:
                word = struct.unpack_from("<I", data, constant)[0]
            case 0x15:
                at += then if word == constant else otherwise
            case 0x35:
                at += then if word >= constant else otherwise
            case 0x45:
                at += then if word & constant else otherwise
            case 0x06:
                return 0 if constant == 0x7FFF0000 else constant & 0xFFFF
            case _:
                raise AssertionError(f"no such operation: {operation:#x}")


@machines
def test_each_refused_call_is_refused_and_ordinary_ones_are_not(machine: str) -> None:
    """Guard: `filter.numbers`."""
    code = seccomp.program(UNIX, machine)
    for name, number in seccomp.numbers(machine).items():
        assert verdict(code, machine, number) == errno.EPERM, name
    assert verdict(code, machine, 435) == errno.ENOSYS
    for number in ORDINARY[machine]:
        assert verdict(code, machine, number, 1) == 0, number
    assert len(seccomp.numbers(machine)) == len(set(seccomp.numbers(machine).values()))
    assert max(max(then, other) for _, then, other, _ in struct.iter_unpack("=HBBI", code)) < 256


@machines
def test_no_second_set_of_numbers_gets_around_it(machine: str) -> None:
    """Guard: the architecture and the bound of x32 in `filter.program`."""
    code = seccomp.program(UNIX, machine)
    assert verdict(code, machine, 1, architecture=0x40000003) == errno.ENOSYS
    if machine == "x86_64":
        assert verdict(code, machine, 0x40000000 | 101) == errno.ENOSYS


@machines
def test_namespaces_are_refused_and_threads_are_not(machine: str) -> None:
    code, number = seccomp.program(UNIX, machine), SPECIAL[machine]
    for flag in NAMESPACES:
        assert verdict(code, machine, number["unshare"], flag) == errno.EPERM
        if flag != 0x80:  # of clone that is part of a signal's number: CSIGNAL
            assert verdict(code, machine, number["clone"], flag | 17) == errno.EPERM
    assert verdict(code, machine, number["clone"], 0x3D0F00) == 0
    assert verdict(code, machine, number["clone"], 17) == 0
    assert verdict(code, machine, number["unshare"], 0x400) == 0


@machines
@pytest.mark.parametrize("request_", [0x5412, 0x541C, 0x1_0000_5412, 0xFFFF_FFFF_0000_541C])
def test_nobody_types_into_a_terminal(machine: str, request_: int) -> None:
    """Guard: only the lower half counts, as to the kernel."""
    code, ioctl = seccomp.program(UNIX, machine), SPECIAL[machine]["ioctl"]
    assert verdict(code, machine, ioctl, 0, request_) == errno.EPERM
    assert verdict(code, machine, ioctl, 0, 0x5401) == 0


@machines
def test_sockets_are_of_the_families_asked_for(machine: str) -> None:
    number = SPECIAL[machine]["socket"]
    for families in ((), (1,), (2, 10, 16), UNIX):
        code = seccomp.program(families, machine)
        for family in range(46):
            expected = 0 if family in families else errno.EAFNOSUPPORT
            assert verdict(code, machine, number, family, 1, 0) == expected
        refused = verdict(code, machine, number, 16, 3, 2)
        assert refused == (errno.EPROTONOSUPPORT if 16 in families else errno.EAFNOSUPPORT)


@machines
def test_only_harmless_personalities_are_taken(machine: str) -> None:
    code, number = seccomp.program(UNIX, machine), SPECIAL[machine]["personality"]
    assert verdict(code, machine, number, 0xFFFFFFFF) == 0
    assert verdict(code, machine, number, 0x0400000) == errno.EPERM
