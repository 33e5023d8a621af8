"""How the commands of tests are confined: as servers do it, where this machine can."""

from functools import cache
from pathlib import Path

from surefoot_tools.sandbox.sandbox import DEFAULT, Level, Reached, Sandbox


@cache
def found() -> Sandbox:
    """A sandbox as a server has it by default."""
    return Sandbox(DEFAULT, [Path.cwd()])


def level() -> Level:
    """The default; off where that would refuse all commands, as in some containers."""
    return Level.OFF if found().reached is Reached.REFUSED else DEFAULT
