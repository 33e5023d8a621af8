"""What the server of a run is told about the sandbox, by what this machine can do."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from surefoot_tools.sandbox.sandbox import DEFAULT, Reached, Sandbox

UNCONFINED = ("--sandbox", "off")
"""What it is told on a machine that cannot confine commands."""


class Environment(click.ClickException):
    """Something around us is missing: a server that starts, a directory to write to."""

    exit_code = 3


def confinement(models: Sequence[str]) -> tuple[str, ...]:
    """What to tell a server of our own about the sandbox: by default nothing.

    Where commands cannot be confined, a server refuses them, and a run would measure that. What
    `scripted` and `sim:` models run is in the suite, so without a sandbox it does what whoever
    chose the suite has read; what a real model runs nobody has, so it stays refused.
    """
    sandbox = Sandbox(DEFAULT, [Path.cwd()], [], os.environ)
    if sandbox.reached is not Reached.REFUSED:
        return ()
    if not all(model.partition(":")[0] in ("scripted", "sim") for model in models):
        raise Environment(f"commands cannot be confined: {sandbox.reason}. {sandbox.fix}")
    click.echo(
        "note: the commands of this run are not confined, for this machine cannot:"
        f" {sandbox.reason}. {sandbox.fix}",
        err=True,
    )
    return UNCONFINED
