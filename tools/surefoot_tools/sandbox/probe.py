"""The program that finds out which plan works here, by carrying each out with `true`.

Plans come on stdin, as JSON; the kind of the first that works goes to stdout.
"""

import json
import os
import select
import sys
import time
from typing import Any

from surefoot_tools.sandbox import enter
from surefoot_tools.supervisor.start import NotStarted
from surefoot_tools.supervisor.tree import Tree

_PATIENCE = 5.0
"""Seconds for `true` to end."""


def main() -> None:
    """Try the plans in their order."""
    plans: list[enter.Plan] = json.load(sys.stdin)
    tree = Tree()
    works = next((plan["kind"] for plan in plans if _works(plan, tree)), None)
    sys.stdout.write(json.dumps({"works": works}))


def _works(plan: enter.Plan, tree: Tree) -> bool:
    nothing = os.open(os.devnull, os.O_RDWR)
    request: dict[str, Any] = {"argv": ["/bin/true"], "cwd": "/usr", "env": {}}
    try:
        pid, room = enter.start(request, [nothing] * 3, None, plan)
    except NotStarted as e:
        number = f"{os.strerror(e.number)} ({e.step})"
        sys.stderr.write(f"{plan['kind']}: {number}\n")
        sys.stderr.flush()
        tree.end()
        return False
    finally:
        os.close(nothing)
    over = time.monotonic() + _PATIENCE
    while pid not in tree.ended and time.monotonic() < over:
        select.select([tree.alarm], [], [], 0.1)
        tree.reap()
    room.end(tree)
    return tree.ended.get(pid) == 0
