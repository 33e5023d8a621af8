"""`surefoot journal tail`: the newest events, and those to come."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from surefoot_cli.journal.events import tell
from surefoot_cli.place import opened, place_option
from surefoot_server.journal.records import Row
from surefoot_server.journal.snapshot import Snapshot

EVERY = 0.5
"""Seconds between two looks."""
AT_ONCE = 1000
"""Events of one look."""


@click.command(short_help="Show the newest events.")
@click.option("-n", "count", default=20, show_default=True, type=click.IntRange(0, 10_000))
@click.option("--follow", "-f", is_flag=True, help="Go on until interrupted.")
@place_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def tail(count: int, follow: bool, place: str | Path | None, as_json: bool) -> None:
    """Show the newest events, newest last: time, kind, tool, key or call id, state now."""
    with opened(place) as snapshot:
        newest = list(snapshot.rows("last_events", {"limit": max(count, 1)}))
        for event in reversed(newest[:count]):
            _print(event, snapshot, as_json)
        if follow:
            for event in _to_come(newest[0]["id"] if newest else 0, snapshot):
                _print(event, snapshot, as_json)


def _to_come(last: int, snapshot: Snapshot) -> Iterator[Row]:
    """Events after one, for ever."""
    while True:
        snapshot.renew()
        newest = next(snapshot.rows("last_events", {"limit": 1}), {"id": 0})["id"]
        # Retention drops old events; with all of them gone, SQLite counts from 1 again.
        last = 0 if newest < last else last
        for event in list(snapshot.rows("events_after", {"id": last, "limit": AT_ONCE})):
            yield event
            last = event["id"]
        if newest <= last:
            time.sleep(EVERY)


def _print(event: Row, snapshot: Snapshot, as_json: bool) -> None:
    told = tell(event, snapshot)
    click.echo(json.dumps(told.as_json()) if as_json else told.as_line())
