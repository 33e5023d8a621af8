"""The options of the verbs that serve which say where calls are recorded, and for how long."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import click

from surefoot_cli.place import PLACE
from surefoot_cli.span import SPAN
from surefoot_server.config import Retention

_OPTIONS = [
    click.option(
        "--journal",
        type=PLACE,
        help="A file, or postgresql://... Default: journal.db in the state directory.",
    ),
    click.option(
        "--store-arguments",
        type=click.Choice(["none", "redacted", "all"]),
        default="redacted",
        show_default=True,
        help="How much of the arguments the journal keeps.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(min=0, max=86_400),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How long a keyed call or a command is kept when its connection or server is gone.",
    ),
    click.option(
        "--keep-results",
        type=SPAN,
        metavar="SPAN",
        help="How long results are kept for replay. Default: 7d.",
    ),
    click.option(
        "--keep-keys",
        type=SPAN,
        metavar="SPAN",
        help="How long a key is known after its call ended. Default: 90d.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="Logs go to stderr as JSON lines.",
    ),
]


def recording_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds them to a command."""
    return reduce(lambda made, option: option(made), reversed(_OPTIONS), command)


def retention(results: float | None, keys: float | None) -> Retention:
    """How long things are kept; results no longer than the keys that lead to them.

    Raises:
        BadParameter: a span is empty, or keys would be forgotten before results.
    """
    default = Retention()
    chosen = Retention(
        default.results if results is None else results, default.keys if keys is None else keys
    )
    for name, span in (("--keep-results", chosen.results), ("--keep-keys", chosen.keys)):
        if span <= 0:
            raise click.BadParameter("longer than 0", param_hint=name)
    if chosen.keys >= chosen.results:
        return chosen
    if results is None:
        return Retention(chosen.keys, chosen.keys)
    raise click.BadParameter("not shorter than --keep-results", param_hint="--keep-keys")
