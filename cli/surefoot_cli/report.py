"""`surefoot report`: what runs have shown, from their records alone."""

from pathlib import Path

import click

from surefoot_client import record as records
from surefoot_client import report


class BadInput(click.ClickException):
    """What was given cannot be used."""

    exit_code = 2


@click.command
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "json"]),
    default="md",
    show_default=True,
    help="Markdown or JSON.",
)
def command(folders: tuple[Path, ...], form: str) -> None:
    """Report on runs, from their records alone."""
    for folder in folders:
        if not (folder / records.FILE_NAME).is_file():
            raise BadInput(f"{folder} is not the directory of a run: no {records.FILE_NAME}")
    try:
        for folder in folders:
            if next(records.read(folder / records.FILE_NAME), None) is None:
                raise BadInput(f"{folder}: no records yet")
        logs = [records.read(folder / records.FILE_NAME) for folder in folders]
        summary = report.summarize(*logs)
    except records.RecordError as error:
        raise BadInput(str(error)) from error
    render = report.render_json if form == "json" else report.render_markdown
    click.echo(render(summary), nl=False)
