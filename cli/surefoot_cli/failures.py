"""`surefoot failures`: what failed, from the journal alone."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import click

from surefoot_cli.moment import moment
from surefoot_cli.place import opened, place_option
from surefoot_cli.span import SPAN
from surefoot_server import accounting
from surefoot_server.accounting import Outcomes, Report
from surefoot_server.failure_report import FailureReportResult
from surefoot_server.journal.records import Row
from surefoot_server.journal.snapshot import Snapshot

BY = ("tool", "code", "origin", "client", "principal")
"""What the counts can be grouped by."""
LISTED = 20
"""Calls in doubt that are named."""


class _Asked:
    """A snapshot as a `records.Reader`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a reading query."""
        return list(self._snapshot.rows(name, parameters))


@click.command
@click.option("--since", default="24h", show_default=True, type=SPAN, help="s, m, h or d.")
@click.option("--by", type=click.Choice(BY), help="Only the counts, by this.")
@click.option("--tool", help="Only this tool.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100))
@place_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    since: float,
    by: str | None,
    tool: str | None,
    limit: int,
    place: str | Path | None,
    as_json: bool,
) -> None:
    """Show what was asked of the servers of this state directory, and what failed."""
    with opened(place) as snapshot:

        async def derive() -> Report:
            return await accounting.report(
                _Asked(snapshot), since=time.time() - since, tool=tool, limit=limit
            )

        found = anyio.run(derive)
        doubts = list(snapshot.rows("calls_in_doubt", {"limit": LISTED}))
        in_doubt = next(snapshot.rows("count_in_doubt"))["n"]
    if as_json:
        listed = [_doubt(row) for row in doubts]
        click.echo(json.dumps(found.model_dump() | {"calls_in_doubt": listed}, indent=2))
        return
    click.echo(_text(found) if by is None else _table(found, by))
    for line in _doubts(doubts, in_doubt):
        click.echo(line)


def _text(found: Report) -> str:
    return FailureReportResult.of(found).as_text()


def _table(found: Report, by: str) -> str:
    """Counts by one thing, a line each."""
    match by:
        case "code":
            rows = [("code", "origin", "failed")]
            rows += [(row.code, row.origin, str(row.count)) for row in found.by_code]
        case "origin":
            rows = [("origin", "failed")]
            rows += [(row.origin, str(row.count)) for row in found.by_origin]
        case "tool":
            rows = _outcomes(by, [(row.tool, row) for row in found.by_tool])
            probes = ["probes", *(str(row.probes) for row in found.by_tool)]
            rows = [(*row, more) for row, more in zip(rows, probes, strict=True)]
        case "client":
            rows = _outcomes(by, [(row.client or "(none)", row) for row in found.by_client])
        case _:
            rows = _outcomes(by, [(row.principal, row) for row in found.by_principal])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _outcomes(by: str, named: list[tuple[str, Outcomes]]) -> list[tuple[str, ...]]:
    names = ("calls", "first_attempt_success", "recovered", "failed", "in_doubt", "running")
    head = (by, "calls", "first time", "recovered", "failed", "in doubt", "running")
    return [head, *((name, *(str(getattr(row, each)) for each in names)) for name, row in named)]


def _doubts(doubts: list[Row], count: int) -> list[str]:
    """The calls in doubt, and how to say what became of them."""
    if not count:
        return []
    lines = ["", f"{count} calls in doubt, whenever they began:"]
    lines += [
        f"  {row['key'] or row['call_id']}  {row['tool']}, begun {moment(row['begun_at'])}"
        for row in doubts
    ]
    lines += [f"  ... and {count - len(doubts)} more"] if count > len(doubts) else []
    how = "surefoot journal resolve KEY happened|not-happened --reason '...'"
    return [*lines, f"look at what they may have done, then: {how}"]


def _doubt(row: Row) -> dict[str, Any]:
    names = ("call_id", "key", "principal", "tool", "begun_at")
    return {name: row[name] for name in names} | {"error": json.loads(row["error"] or "null")}
