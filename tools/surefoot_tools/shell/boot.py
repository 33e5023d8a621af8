"""Which start of the machine this is."""

import ctypes
import sys
from functools import cache
from pathlib import Path


@cache
def boot() -> str:
    """An id that changes when the machine starts anew; empty where there is none."""
    if sys.platform == "darwin":
        size = ctypes.c_size_t(64)
        text = ctypes.create_string_buffer(64)
        wrong = ctypes.CDLL(None).sysctlbyname(
            b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0
        )
        return "" if wrong else text.value.decode()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
