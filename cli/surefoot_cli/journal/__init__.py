"""`surefoot journal`: look at what the servers recorded, hold it against its chain, say what was.

Each verb lives in a module of its own. All but `resolve` only read.
"""

import click

from surefoot_cli.journal.export import export
from surefoot_cli.journal.resolve import resolve
from surefoot_cli.journal.show import show
from surefoot_cli.journal.tail import tail
from surefoot_cli.journal.verify import verify


@click.group
def command() -> None:
    """Look at the journal; say what became of a call in doubt."""


for _verb in (tail, show, export, resolve, verify):
    command.add_command(_verb)
