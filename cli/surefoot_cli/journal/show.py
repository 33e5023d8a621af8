"""`surefoot journal show`: all that is recorded of a call."""

import json
from pathlib import Path
from typing import Any

import click

from surefoot_cli.journal.events import tell
from surefoot_cli.moment import moment
from surefoot_cli.place import Refused, opened, place_option
from surefoot_server.journal.records import Row
from surefoot_server.journal.snapshot import Snapshot

SHOWN = 200
"""Characters of one value in the text; `--json` has all of it."""
PARSED = ("arguments", "evidence", "error")
"""Columns that are JSON."""


@click.command(short_help="Show all that is recorded of a call.")
@click.argument("name", metavar="KEY-OR-CALL-ID")
@place_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, place: str | Path | None, as_json: bool) -> None:
    """Show a call: attempts, requests and their answers' delivery, jobs, events, evidence, error.

    Arguments are shown as they are stored, results only by their size. Exit 1: no such call.
    """
    with opened(place) as snapshot:
        calls = [_whole(row, snapshot) for row in list(snapshot.rows("find_named", {"name": name}))]
    if not calls:
        raise Refused(f"no call has the key or the id {name!r}")
    if as_json:
        click.echo(json.dumps({"calls": calls}, indent=2))
        return
    click.echo("\n\n".join("\n".join(_lines(call)) for call in calls))


def _whole(row: Row, snapshot: Snapshot) -> dict[str, Any]:
    """A call with all about it, as JSON."""
    about = {"call_id": row["call_id"]}
    events = list(snapshot.rows("events_of", about))
    return {
        **parsed(row),
        "attempts": [parsed(each) for each in snapshot.rows("attempts_of", about)],
        "receipts": [parsed(each) for each in snapshot.rows("receipts_of", about)],
        "jobs": list(snapshot.rows("jobs_of", about)),
        "events": [tell(event, snapshot).as_json() for event in events],
    }


def parsed(row: Row) -> dict[str, Any]:
    """A row with its JSON columns parsed; of a result only how large it is."""
    found = {
        name: json.loads(value) if name in PARSED and value is not None else value
        for name, value in row.items()
    }
    if "result" in found:
        result = found.pop("result")
        found["result_bytes"] = None if result is None else len(result.encode())
    return found


def _lines(call: dict[str, Any]) -> list[str]:
    rows = [
        ("call", call["call_id"]),
        ("key", call["key"] or "none"),
        ("principal", call["principal"]),
        ("tool", f"{call['tool']} ({call['effect']})"),
        ("state", call["state"]),
        ("resolved", call["resolved"]),
        ("begun", moment(call["begun_at"])),
        ("ended", moment(call["ended_at"])),
        ("result", _result(call)),
        ("error", _error(call["error"])),
        ("arguments", _short(call["arguments"])),
        *((f"evidence {name}", _short(value)) for name, value in call["evidence"].items()),
    ]
    lines = [f"{head:<12} {said}" for head, said in rows if said is not None]
    lines += [
        f"{'attempt ' + str(each['number']):<12} {each['state']}, {moment(each['begun_at'])} to"
        f" {moment(each['ended_at'])}{_because(each['error'])}"
        for each in call["attempts"]
    ]
    lines += [
        f"{'request':<12} {each['disposition']}, {moment(each['received_at'])}, answer"
        f" {each['delivery'] or 'open'}, client {each['client'] or 'unknown'}"
        for each in call["receipts"]
    ]
    lines += [
        f"{'job':<12} {each['job_id']} {_end(each)}, {moment(each['begun_at'])} to"
        f" {moment(each['ended_at'])}"
        for each in call["jobs"]
    ]
    lines += [
        f"{'event':<12} {moment(each['at'])} {each['kind']}, {each['rows']} rows"
        for each in call["events"]
    ]
    return lines


def _end(job: Row) -> str:
    end = job["signal"] or job["exit_code"]
    return job["state"] if end is None else f"{job['state']} ({end})"


def _result(call: dict[str, Any]) -> str | None:
    if call["expired_at"] is not None:
        return f"not kept since {moment(call['expired_at'])}"
    return None if call["result_bytes"] is None else f"kept, {call['result_bytes']} bytes"


def _error(error: dict[str, Any] | None) -> str | None:
    if error is None:
        return None
    said = f"{error['code']} ({error['origin']}), applied {error['applied']}: {error['message']}"
    return f"{said}\n{'':<12} {error['hint']}" if error["hint"] else said


def _because(error: dict[str, Any] | None) -> str:
    return "" if error is None else f": {error['code']}, {_short(error['message'])}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
