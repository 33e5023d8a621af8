"""`surefoot failures`: what failed, from the journal alone."""

import json
import os
import time
from pathlib import Path

import anyio
import click

from surefoot_cli.state import state_directory
from surefoot_server import accounting
from surefoot_server.failure_report import FailureReportResult, seconds
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.sqlite import SqliteReader

ENVIRONMENT = 3


@click.command
@click.option("--since", default="24h", show_default=True, help="A number and s, m, h or d.")
@click.option("--tool", help="Only this tool.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100))
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(since: str, tool: str | None, limit: int, journal: Path | None, as_json: bool) -> int:
    """Show what was asked of the servers of this state directory, and what failed."""
    span = seconds(since)
    if span is None:
        raise click.BadParameter("a number and s, m, h or d, such as 24h", param_hint="--since")
    path = journal if journal is not None else state_directory(os.environ) / "journal.db"
    if not path.exists():
        how = "`surefoot serve` makes it; for a run: --journal RUN/state/journal.db"
        click.echo(f"surefoot: no journal at {path}; none yet: {how}", err=True)
        return ENVIRONMENT
    try:
        reader = SqliteReader(path)
    except JournalUnavailable as e:
        click.echo(f"surefoot: {e}", err=True)
        return ENVIRONMENT

    async def derive() -> accounting.Report:
        return await accounting.report(reader, since=time.time() - span, tool=tool, limit=limit)

    found = FailureReportResult.model_validate(anyio.run(derive).model_dump())
    reader.close()
    click.echo(json.dumps(found.model_dump(), indent=2) if as_json else found.as_text())
    return 0
