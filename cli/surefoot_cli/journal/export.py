"""`surefoot journal export`: the tables, for whoever wants to count for themselves."""

import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from surefoot_cli.journal.show import parsed
from surefoot_cli.place import opened, place_option
from surefoot_cli.span import SPAN
from surefoot_server.journal.records import Row

TABLES = ("calls", "attempts", "receipts", "jobs", "events")
COLUMNS = {
    "calls": "call_id principal key tool effect fingerprint scope repeated arguments state owner"
    " evidence error resolved begun_at ended_at expired_at result_bytes",
    "attempts": "call_id number owner state error begun_at ended_at",
    "receipts": "receipt_id call_id instance principal client key tool sender_attempt disposition"
    " arguments_mac answer_mac error received_at delivery delivery_at",
    "jobs": "job_id call_id principal tool place state exit_code signal begun_at ended_at",
    "events": "id instance seq at kind rows detail chain",
}
"""The head of each CSV; results are left out everywhere, their size stands in `result_bytes`."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell begins that a spreadsheet would compute (OWASP, 'CSV injection')."""


@click.command(short_help="Write the tables as JSON lines or CSV.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True
)
@click.option("--table", type=click.Choice([*TABLES, "all"]), default="all", show_default=True)
@click.option("--since", type=SPAN, help="Only what is not older: a number and s, m, h or d.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="A file a table into this folder, instead of stdout.",
)
@place_option
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
def export(
    form: str,
    table: str,
    since: float | None,
    folder: Path | None,
    place: str | Path | None,
    as_json: bool,
) -> None:
    """Write rows as JSON lines, each with its `table`, or as CSV, one table a file.

    Rows are as they are stored, arguments without secrets; results are left out.
    """
    form = "jsonl" if as_json else form
    if form == "csv" and table == "all" and folder is None:
        raise click.UsageError("CSV is one table a file: name it by --table, or a folder by --out")
    names = TABLES if table == "all" else (table,)
    after = 0.0 if since is None else time.time() - since
    with opened(place) as snapshot:
        for name in names:
            rows = (_told(name, row) for row in snapshot.rows(f"{name}_since", {"since": after}))
            if folder is None:
                _write(sys.stdout, form, name, rows)
                continue
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(folder / f"{name}.{form}", "w", encoding="utf-8", opener=_private) as file:
                _write(file, form, name, rows)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _told(table: str, row: Row) -> Row:
    found = parsed(row)
    if table == "events":
        found["rows"], found["detail"] = json.loads(row["rows"]), json.loads(row["detail"])
    return found


def _write(file: TextIO, form: str, table: str, rows: Iterable[Row]) -> None:
    if form == "jsonl":
        file.writelines(json.dumps({"table": table} | row) + "\n" for row in rows)
        return
    columns = COLUMNS[table].split()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(_cells(rows, columns))


def _cells(rows: Iterable[Row], columns: list[str]) -> Iterator[list[object]]:
    for row in rows:
        yield [_cell(row[name]) for name in columns]


def _cell(value: object) -> object:
    """A number as it is, text so that no spreadsheet computes it, all else as JSON."""
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if text.startswith(FORMULA) else text
