"""Runs a command for as long as its own stdin is open; a script, started by `listener.py`.

A server over stdio ends when whoever drives it dies: its stdin ends. One over HTTP would live on,
and keep its port. Exits as the command did (128 and the signal's number, as a shell does).
"""

import os
import subprocess
import sys
import threading

_CHUNK = 4096


def _keep(command: list[str]) -> int:
    # what it prints is for the log, where its stderr goes
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)  # noqa: S603

    def watch() -> None:
        # not by `sys.stdin`, whose lock a thread that waits would hold when we exit
        while os.read(0, _CHUNK):
            pass
        child.terminate()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
