"""The seccomp filter of commands: what nobody needs who only works on files (seccomp(2)).

It refuses rather than kills: a program then goes on without the call, as it does on older kernels.
The list is that of the sandboxes of flatpak, systemd and docker: debugging and reading the memory
of others, mounting, namespaces (each new one is a new way into the kernel), keys, modules, clocks,
raw input and output, and calls that have had more holes than users (io_uring, userfaultfd, bpf).

The program is for the classic BPF machine: `struct sock_filter` of linux/filter.h, working on
`struct seccomp_data`. Only the lower half of each argument is looked at where the kernel takes an
int: else a set bit in the other half would get around it.
"""

import ctypes
import errno
import struct
from collections.abc import Iterable, Sequence

from surefoot_tools.sandbox import kernel

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ, BPF_JMP|JGE, BPF_JMP|JSET and BPF_RET, each with a constant."""
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`."""
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
"""A second set of numbers on x86_64, by which a list of numbers would be got around."""
_NAMESPACES = 0x7E020080
"""Flags of clone(2) and unshare(2) that make namespaces, CLONE_NEWTIME among them."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""ioctl_tty(2): typing into the terminal of others."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)

_BOTH = {
    # See and change the memory and the descriptors of others.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "perf_event_open": (298, 241),
    # The file system.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225),
    "fanotify_init": (300, 262), "acct": (163, 89), "open_tree_attr": (467, 467),
    # Namespaces; clone3 and unshare are looked at below.
    "setns": (308, 268),
    # Keys.
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # The kernel itself.
    "init_module": (175, 105), "delete_module": (176, 106), "finit_module": (313, 273),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "bpf": (321, 280), "userfaultfd": (323, 282), "syslog": (103, 116),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "vhangup": (153, 58),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # The machine's clock and name.
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
_X86_64 = {
    "iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134, "ustat": 136, "sysfs": 139,
    "_sysctl": 156, "create_module": 174, "get_kernel_syms": 177, "query_module": 178,
}  # fmt: skip
_SPECIAL = {
    "clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "personality": (135, 92),
    "ioctl": (16, 29), "socket": (41, 198),
}  # fmt: skip


def numbers(machine: str) -> dict[str, int]:
    """The numbers of what is refused whatever its arguments, by name."""
    column = list(_AUDIT).index(machine)
    refused = {name: both[column] for name, both in _BOTH.items()}
    return {**refused, **_X86_64} if machine == "x86_64" else refused


def supported(machine: str = kernel.MACHINE) -> bool:
    """Whether we know the numbers of this machine."""
    return machine in _AUDIT


def program(families: Iterable[int], machine: str = kernel.MACHINE) -> bytes:
    """The filter.

    Args:
        families: Address families that sockets may be of.
        machine: As uname(2) says it.
    """
    column = list(_AUDIT).index(machine)
    special = {name: both[column] for name, both in _SPECIAL.items()}
    code = [
        *_unless(_ARCHITECTURE, _EQUAL, [_AUDIT[machine]], errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for number in sorted(set(numbers(machine).values())):
        code += [(_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    # Its flags lie in memory, where no filter can look; ENOSYS makes the C library use clone.
    code += [(_EQUAL, 0, 1, special["clone3"]), _refuse(errno.ENOSYS)]
    first, second, third = (_ARGUMENTS + 8 * each for each in range(3))
    bits = [(_LOAD, 0, 0, first), (_ANY_BIT, 0, 1, _NAMESPACES), _refuse(errno.EPERM)]
    code += _when(special["clone"], bits)
    code += _when(special["unshare"], bits)
    code += _when(special["personality"], _unless(first, _EQUAL, _PERSONALITIES, errno.EPERM))
    tty = [(_LOAD, 0, 0, second)]
    for request in (TIOCSTI, TIOCLINUX):
        tty += [(_EQUAL, 0, 1, request), _refuse(errno.EPERM)]
    code += _when(special["ioctl"], tty)
    allowed = sorted(set(families))
    socket = _unless(first, _EQUAL, allowed, errno.EAFNOSUPPORT) if allowed else []
    if AF_NETLINK in allowed:  # for the addresses of interfaces (rtnetlink(7)), and no more
        route = _unless(third, _EQUAL, [0], errno.EPROTONOSUPPORT)
        socket += [(_LOAD, 0, 0, first), (_EQUAL, 0, len(route), AF_NETLINK), *route]
    code += _when(special["socket"], socket or [_refuse(errno.EAFNOSUPPORT)])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def install(code: bytes) -> None:
    """Put the filter on this process and all that comes of it. No way leads back."""
    count = len(code) // 8
    held = ctypes.create_string_buffer(code, len(code))
    handed = _Program(count, ctypes.addressof(held))
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.byref(handed))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_void_p))


_Line = tuple[int, int, int, int]


def _refuse(number: int) -> _Line:
    return (_RETURN, 0, 0, _ERRNO | number)


def _when(number: int, then: Sequence[_Line]) -> list[_Line]:
    """Lines for one system call; what comes through them is allowed."""
    body = [*then, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(body), number), *body]


def _unless(offset: int, test: int, values: Sequence[int], number: int) -> list[_Line]:
    """Refuse unless a word passes the test with one of the values."""
    tests = [(test, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [(_LOAD, 0, 0, offset), *tests, _refuse(number)]
