"""Where a journal lies, as the command line says it: a file, or the URL of a database."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from surefoot_cli.state import state_directory
from surefoot_server.journal.opening import open_snapshot
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.snapshot import Snapshot
from surefoot_tools.database.postgres_url import SCHEMES, read_url

NO, ENVIRONMENT = 1, 3
"""Exit codes: the answer is no; there is no journal."""
FILE_SCHEME = "sqlite:///"


class Refused(click.ClickException):
    """The answer is no."""

    exit_code = NO

    def show(self, file: IO[Any] | None = None) -> None:
        """One clear line."""
        click.echo(f"surefoot: {self.message}", file=file, err=file is None)


class NoJournal(Refused):
    """There is no journal, or it cannot be read."""

    exit_code = ENVIRONMENT


class Place(click.ParamType[str | Path]):
    """A file, or `postgresql://...`."""

    name = "PLACE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """The place, looked at only as far as its form goes."""
        text = str(value).removeprefix(FILE_SCHEME)
        scheme, is_url, _ = text.partition("://")
        if is_url and scheme not in SCHEMES:
            self.fail(f"{scheme}:// is no journal; a file or postgresql://... is", param, ctx)
        if is_url:
            try:
                read_url("of the journal", text)
            except ValueError as e:
                self.fail(str(e), param, ctx)
            return text
        if Path(text).is_dir():
            self.fail(f"{text} is a folder; name the file in it", param, ctx)
        return Path(text)


PLACE = Place()


def shown(place: str | Path) -> str:
    """A place without what its URL may hold of secrets."""
    return str(place) if isinstance(place, Path) else read_url("of the journal", place).place


def place_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--journal` of a command that looks at one."""
    return click.option(
        "--journal",
        "place",
        type=PLACE,
        help="A file, or postgresql://... Default: journal.db in the state directory.",
    )(command)


def chosen(place: str | Path | None) -> str | Path:
    """The place that was named, else the journal of the state directory."""
    return place if place is not None else state_directory(os.environ) / "journal.db"


@contextmanager
def opened(place: str | Path | None) -> Generator[Snapshot]:
    """A snapshot of a journal, for the block.

    Raises:
        NoJournal: there is none, or it cannot be read; exit code 3.
    """
    where = chosen(place)
    if isinstance(where, Path) and not where.exists():
        how = "`surefoot serve` makes it; for a run: --journal RUN/state/journal.db"
        raise NoJournal(f"no journal at {where}; none yet: {how}")
    try:
        snapshot = open_snapshot(where)
        try:
            yield snapshot
        finally:
            snapshot.close()
    except JournalUnavailable as e:
        raise NoJournal(str(e)) from e
