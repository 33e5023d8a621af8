"""`surefoot journal resolve`: a person says what became of a call in doubt."""

import getpass
import importlib.metadata
import json
import os
import time
from pathlib import Path

import anyio
import click

from surefoot_cli.moment import moment
from surefoot_cli.place import NoJournal, Refused, chosen, opened, place_option
from surefoot_cli.state import state_directory
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.owners import is_held
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.states import State
from surefoot_server.redact import redact_text
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error

HAPPENED, NOT_HAPPENED = "happened", "not-happened"
LONGEST = 500
"""Characters of a reason."""


@click.command(short_help="Say what became of a call in doubt.")
@click.argument("name", metavar="KEY")
@click.argument("verdict", type=click.Choice([HAPPENED, NOT_HAPPENED]))
@click.option("--reason", required=True, help="How you know; it is kept with the call.")
@place_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resolve(name: str, verdict: str, reason: str, place: str | Path | None, as_json: bool) -> None:
    """Say what became of a call in doubt, named by its key or its call id.

    After `happened` its key is answered 'done'; after `not-happened` its key may run it again.
    Exit 1: there is no such call, or it is not in doubt. Exit 2: the key names several.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= LONGEST:
        raise click.BadParameter(f"1 to {LONGEST} characters", param_hint="--reason")
    reason = redact_text(reason)
    with opened(place) as snapshot:
        found = list(snapshot.rows("find_named", {"name": name}))
    call = _only(name, found)
    if call["state"] != State.IN_DOUBT:
        raise Refused(_not_in_doubt(call, chosen(place)))
    words = verdict.replace("-", " ")
    said = f"{words}, said by {_user()} at {moment(time.time())}: {reason}"
    state, error = _ending(verdict, reason)
    if not anyio.run(_write, chosen(place), call["call_id"], state, error, said):
        raise Refused(f"call {call['call_id']} is no longer in doubt: somebody else was faster")
    if as_json:
        told = {"call_id": call["call_id"], "key": call["key"], "state": state, "resolved": said}
        click.echo(json.dumps(told))
        return
    then = "its key is answered 'done'" if verdict == HAPPENED else "its key may run it again"
    click.echo(f"call {call['call_id']} ({call['tool']}): {said}; {then}")


def _only(name: str, found: list[Row]) -> Row:
    if not found:
        raise Refused(f"no call has the key or the id {name!r}")
    if len(found) > 1:
        listed = "".join(
            f"\n  {row['call_id']}  principal {row['principal']}, {row['tool']}, {row['state']}"
            for row in found
        )
        raise click.UsageError(f"{name!r} names several calls; say which by its id:{listed}")
    return found[0]


def _not_in_doubt(call: Row, place: str | Path) -> str:
    head = f"call {call['call_id']} is not in doubt: it"
    if call["state"] != State.RUNNING:
        resolved = f" ({call['resolved']})" if call["resolved"] else ""
        return f"{head} {call['state']} at {moment(call['ended_at'])}{resolved}"
    since = f"{head} has been running since {moment(call['begun_at'])}"
    lock = None if isinstance(place, str) else place.parent / "instances" / f"{call['owner']}.lock"
    if lock is not None and not is_held(lock):
        return (
            f"{since}, and its server died; a server with the same roots, or its key sent again,"
            " finds out what became of it"
        )
    return since


def _ending(verdict: str, reason: str) -> tuple[State, Error | None]:
    if verdict == HAPPENED:
        return State.SUCCEEDED, None
    said = f"resolved as not happened: {reason}"
    # `retry_after` 0 says that another try makes sense, at once.
    error = Error(Code.ABORTED, Origin.SERVER, Applied.NO, said, retry_after=0.0)
    return State.FAILED, error


async def _write(
    place: str | Path, call_id: str, state: State, error: Error | None, said: str
) -> bool:
    """Write it as a server process of its own, that lives for a moment."""
    version = importlib.metadata.version("surefoot")
    try:
        journal = open_journal(place, state=state_directory(os.environ), version=version)
        try:
            return await journal.resolve(call_id, state, error, said)
        finally:
            journal.close()
    except JournalUnavailable as e:
        raise NoJournal(str(e)) from e


def _user() -> str:
    """Who says so, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this number; OSError from 3.13 on
        return f"user {os.getuid()}"
