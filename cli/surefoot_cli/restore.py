"""`surefoot restore`: what was deleted, and back with it."""

import json
import os
from pathlib import Path

import anyio
import click

from surefoot_cli.place import Refused
from surefoot_cli.state import state_directory
from surefoot_tools.errors import ToolError
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.restoring import Deleted, bring_back, deleted
from surefoot_tools.files.text import visible_name


@click.command
@click.argument("trash_id", required=False)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="As of the server; several allowed. Default: the current folder.",
)
@click.option("--to", "destination", metavar="PATH", help="Under another name, below the root.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    trash_id: str | None, roots: tuple[Path, ...], destination: str | None, as_json: bool
) -> None:
    """List what the tools deleted, newest first; with a TRASH_ID, bring that back.

    Nothing is overwritten: if something else bears the name by now, nothing is done.
    """
    directories = tuple(root.resolve() for root in roots) or (Path.cwd(),)
    found = deleted(directories)
    if trash_id is None:
        _list(found, as_json=as_json)
        return
    wanted = next((each for each in found if each.trash_id == trash_id), None)
    if wanted is None:
        raise Refused(f"nothing of that id in the trash of {', '.join(map(str, directories))}")
    locks = PathLocks(state_directory(os.environ) / "locks")
    try:
        path = anyio.run(bring_back, wanted, destination, locks)
    except ToolError as e:
        raise Refused(e.message) from e
    click.echo(json.dumps({"path": str(path)}) if as_json else f"restored {visible_name(path)}")


def _list(found: list[Deleted], *, as_json: bool) -> None:
    for each in found:
        if as_json:
            click.echo(each.model_dump_json())
        else:
            at = each.deleted or "at an unknown time"
            click.echo(f"{each.trash_id}  {at}  {each.type}  {visible_name(each.path)}")
    if not found:
        click.echo("the trash is empty", err=True)
