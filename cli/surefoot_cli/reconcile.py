"""`surefoot reconcile`: a run's sends against the server's journal, double entry."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

import click

from surefoot_cli.place import PLACE
from surefoot_client import record as records
from surefoot_client.ledger import AttemptRow, CallRow, JobRow, Ledger, ReceiptRow
from surefoot_client.reconcile import Balance, reconcile
from surefoot_server.accounting import ledger
from surefoot_server.journal.records import JournalUnavailable

OUT_OF_BALANCE = 1


class BadInput(click.ClickException):
    """What was given cannot be used."""

    exit_code = 2


@click.command
@click.argument(
    "folder", metavar="RUN", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--journal",
    type=PLACE,
    help="The server's journal, a file or postgresql://...; it may hold other runs too."
    " Default: the run's own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the balance as JSON.")
@click.pass_context
def command(
    context: click.Context, folder: Path, journal: str | Path | None, as_json: bool
) -> None:
    """Hold a run's sends against the server's journal; exit 1 when they do not balance."""
    log = folder / records.FILE_NAME
    if not log.is_file():
        raise BadInput(f"{folder} is not the directory of a run: no {records.FILE_NAME}")
    try:
        book = _ledger(journal or folder / "state" / "journal.db")
        balance = reconcile(records.read(log), book, shared=journal is not None)
    except (records.RecordError, JournalUnavailable) as error:
        raise BadInput(str(error)) from error
    click.echo(_json(balance) if as_json else _text(balance), nl=False)
    if not balance.balances:
        context.exit(OUT_OF_BALANCE)


def _ledger(journal: str | Path) -> Ledger:
    """The server's rows in the client's types."""
    book = ledger(journal)
    return Ledger(
        receipts=[_as(ReceiptRow, row) for row in book.receipts],
        calls=[_as(CallRow, row) for row in book.calls],
        attempts=[_as(AttemptRow, row) for row in book.attempts],
        jobs=[_as(JobRow, row) for row in book.jobs],
        mac=book.mac,
    )


R = TypeVar("R", ReceiptRow, CallRow, AttemptRow, JobRow)


def _as(kind: type[R], row: object) -> R:
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def _json(balance: Balance) -> str:
    return json.dumps({**asdict(balance), "balances": balance.balances}, indent=2) + "\n"


def _text(balance: Balance) -> str:
    rows = [
        ("sends in the driver's log", balance.sends),
        ("  matched", balance.matched),
        ("  replayed", balance.replayed),
        ("  answer lost", balance.answer_lost),
        ("  never arrived", balance.never_arrived),
        ("receipts in the journal", balance.receipts),
        ("calls", balance.calls),
        ("attempts", balance.attempts),
        ("jobs", balance.jobs),
    ]
    if balance.left_out:
        rows.append(("receipts of other runs, left out", balance.left_out))
    lines = [f"{head:<34}{count:>8}" for head, count in rows]
    if balance.balances:
        return "\n".join([*lines, "", "the books balance"]) + "\n"
    problems = [f"- {problem}" for problem in balance.problems]
    head = f"the books do not balance, {len(problems)} problems:"
    return "\n".join([*lines, "", head, *problems]) + "\n"
