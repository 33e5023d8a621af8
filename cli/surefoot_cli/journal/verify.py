"""`surefoot journal verify`: hold the journal against its own chains, and against saved heads."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from surefoot_cli.moment import moment
from surefoot_cli.place import NO, Refused, opened, place_option
from surefoot_cli.span import SPAN
from surefoot_server.config import Retention
from surefoot_server.journal import chain
from surefoot_server.journal.chain import Verdict
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.snapshot import Snapshot

SHOWN = 50
"""Problems that the text names; `--json` has all."""
HEAD = re.compile(r"^head (\S+) ([0-9]+) ([0-9.]+) ([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain of one server process stood."""

    instance: str
    seq: int
    at: float
    """When that was seen; seconds since the epoch."""
    link: str


@click.command(short_help="Look whether every row is as it was written.")
@click.option("--heads", is_flag=True, help="Print the last link of each chain, to be kept away.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Heads that were saved earlier, as --heads printed them.",
)
@click.option(
    "--keep-keys",
    type=SPAN,
    default=Retention().keys,
    metavar="SPAN",
    help="As of the servers: a saved chain may be missing after that. Default: 90d.",
)
@place_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(
    context: click.Context,
    heads: bool,
    against: Path | None,
    keep_keys: float,
    place: str | Path | None,
    as_json: bool,
) -> None:
    """Look whether every row is as it was written; exit 1 when one is not, or is missing."""
    saved = [] if against is None else _saved(against)
    with opened(place) as snapshot:
        try:
            verdict, found = _verify(snapshot, saved, time.time() - keep_keys)
        except JournalUnavailable as e:  # it could be opened, so this is damage
            raise Refused(str(e)) from e
    if as_json:
        click.echo(json.dumps(_json(verdict, found, saved), indent=2))
    else:
        click.echo("\n".join(_lines(verdict, found if heads else [], saved)))
    if verdict.problems:
        context.exit(NO)


def _saved(file: Path) -> list[Head]:
    """The heads in a file, as `--heads` or `--json` printed them."""
    try:
        text = file.read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            return [Head(**head) for head in json.loads(text)["heads"]]
        return [_head(*found) for found in HEAD.findall(text)] or _none(file)
    except (KeyError, TypeError, ValueError) as e:
        raise click.BadParameter(f"{file} has no heads", param_hint="--against") from e


def _head(instance: str, seq: str, at: str, link: str) -> Head:
    return Head(instance, int(seq), float(at), link)


def _none(file: Path) -> list[Head]:
    raise click.BadParameter(f"{file} has no heads", param_hint="--against")


def _verify(snapshot: Snapshot, saved: list[Head], forgotten: float) -> tuple[Verdict, list[Head]]:
    instances = list(snapshot.rows("all_instances"))
    links: dict[tuple[str, int], str | None] = {(each.instance, each.seq): None for each in saved}
    verdict = chain.verify(
        instances,
        _noting(snapshot.rows("all_events"), links),
        {name: snapshot.rows(f"all_{name}s") for name in chain.KEYS if name != "instance"},
    )
    problems = verdict.problems + _missing(saved, instances, links, forgotten)
    now = time.time()
    found = [Head(row["instance"], row["seq"], now, row["chain"]) for row in instances]
    return Verdict(verdict.events, verdict.rows, verdict.heads, problems), found


def _noting(events: Iterable[Row], links: dict[tuple[str, int], str | None]) -> Iterator[Row]:
    """The events as they come; the links that are asked for are noted."""
    for event in events:
        name = (event["instance"], event["seq"])
        if name in links:
            links[name] = event["chain"]
        yield event


def _missing(
    saved: list[Head],
    instances: list[Row],
    links: dict[tuple[str, int], str | None],
    forgotten: float,
) -> list[str]:
    """Saved heads that the journal no longer leads to."""
    problems: list[str] = []
    rows = {row["instance"]: row for row in instances}
    for head in saved:
        name = f"saved head {head.instance}/{head.seq}"
        row = rows.get(head.instance)
        link = links[head.instance, head.seq]
        if row is None:
            if head.at >= forgotten:
                problems.append(f"{name}: its chain is missing, and is too young to be forgotten")
        elif head.seq == row["anchor_seq"]:
            link = row["anchor_chain"]
        elif head.seq < row["anchor_seq"]:
            continue  # dropped by retention; what came after it is still held by the anchor
        if row is not None and link != head.link:
            said = "is missing" if link is None else "is another one now"
            problems.append(f"{name}: that event {said}")
    return problems


def _json(verdict: Verdict, found: list[Head], saved: list[Head]) -> dict[str, Any]:
    return {
        "good": not verdict.problems,
        "events": verdict.events,
        "rows": verdict.rows,
        "saved_heads": len(saved),
        "problems": verdict.problems,
        "heads": [
            {"instance": head.instance, "seq": head.seq, "at": head.at, "link": head.link}
            for head in found
        ],
    }


def _lines(verdict: Verdict, found: list[Head], saved: list[Head]) -> list[str]:
    lines = [f"{verdict.events} events, {verdict.rows} rows, {len(verdict.heads)} chains"]
    lines += [f"{len(saved)} saved heads looked for"] if saved else []
    lines += [f"head {head.instance} {head.seq} {head.at:.0f} {head.link}" for head in found]
    if not verdict.problems:
        return [*lines, "all is as it was written"]
    lines += [f"- {problem}" for problem in verdict.problems[:SHOWN]]
    hidden = len(verdict.problems) - SHOWN
    lines += [f"... and {hidden} more (--json has all)"] if hidden > 0 else []
    return [*lines, f"{len(verdict.problems)} problems; looked at {moment(time.time())}"]
