"""Which databases there are: read from `NAME=URL`, found by name.

Opens nothing: a database is opened by each call that uses it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from surefoot_tools.database.engine import Engine
from surefoot_tools.database.postgres_url import FORM, SCHEMES, read_url
from surefoot_tools.database.sqlite import SqliteEngine
from surefoot_tools.errors import Code, Origin, ToolError

DEFAULT = "default"
"""The name that stands for the database called so, else for the only one there is."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SQLITE = "sqlite:///relative/path.db or sqlite:////absolute/path.db, with ?mode=rw to allow writes"
_FORMS = f"{_SQLITE}; {FORM}"

PURGE_TIMEOUT = 30.0
"""Seconds for one database."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database that the tools may use."""

    name: str
    url: str = field(repr=False)
    """In SQLAlchemy's form, without `mode`: `sqlite:///relative.db`, `sqlite:////absolute.db`,
    `postgresql://user:password@host:port/database`."""
    writable: bool = False

    def files(self) -> list[Path]:
        """The files that hold it, canonical: what no other tool may write; none of a server's."""
        if _is_postgres(self.url):
            return []
        path = _sqlite_path(self.name, self.url).resolve()
        return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal")]


def parse_database(text: str) -> Database:
    """Read `NAME=URL`, `NAME=URL?mode=ro` or `NAME=URL?mode=rw`.

    Raises:
        ValueError: with what is wrong and what would be right; shows no part of the URL but its
            scheme, for it may hold a password.
    """
    name, equals, url = text.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        what = f"the name {name!r}" if equals else "an argument without '='"
        raise ValueError(f"{what} is not NAME=URL with a name of letters, digits and _.-")
    if _is_postgres(url):
        return _parse_postgres(name, url)
    url, _, query = url.partition("?")
    _sqlite_path(name, url)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ValueError(f"database {name}: what follows '?' is not key=value") from error
    for key, _ in pairs:
        if key != "mode":
            raise ValueError(f"database {name}: parameter {key!r} is not known; there is only mode")
    return Database(name, url, writable=_writable(name, [value for _, value in pairs]))


def _writable(name: str, modes: list[str]) -> bool:
    if len(modes) > 1:
        raise ValueError(f"database {name}: mode is given more than once")
    if modes and modes[0] not in ("ro", "rw"):
        raise ValueError(f"database {name}: mode is ro (default) or rw")
    return modes == ["rw"]


def _is_postgres(url: str) -> bool:
    scheme = _SCHEME.match(url)
    return scheme is not None and scheme[1].lower() in SCHEMES


def _parse_postgres(name: str, url: str) -> Database:
    """Take `mode` out; the rest of what follows '?' is libpq's and stays."""
    front, _, query = url.partition("?")
    parts = query.split("&") if query else []
    modes = [part.partition("=")[2] for part in parts if part.partition("=")[0] == "mode"]
    rest = "&".join(part for part in parts if part.partition("=")[0] != "mode")
    url = f"{front}?{rest}" if rest else front
    read_url(name, url)
    return Database(name, url, writable=_writable(name, modes))


def _sqlite_path(name: str, url: str) -> Path:
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() != "sqlite":
        what = f"scheme {scheme[1]!r}" if scheme else "a URL without a scheme"
        raise ValueError(f"database {name}: {what} is not supported; supported now: {_FORMS}")
    rest = url[scheme.end() :]
    path = rest[1:]
    if not rest.startswith("/") or not path or path.startswith(":") or "\0" in path:
        raise ValueError(f"database {name}: the URL names no file; supported now: {_FORMS}")
    return Path(path)


def engine_of(database: Database) -> Engine:
    """The engine that its URL asks for.

    Raises:
        ValueError: the URL is of no kind that is supported, or the driver is missing.
    """
    if not _is_postgres(database.url):
        path = _sqlite_path(database.name, database.url)
        return SqliteEngine(database.name, path.absolute(), writable=database.writable)
    address = read_url(database.name, database.url)
    try:
        # Imported here: its driver is an extra.
        from surefoot_tools.database.postgres import PostgresEngine
    except ImportError as error:
        raise ValueError(
            f"database {database.name}: PostgreSQL needs its driver: pip install"
            f" 'surefoot[postgres]' ({error})"
        ) from error
    return PostgresEngine(database.name, address, writable=database.writable)


class Databases:
    """The databases of a server, found by name.

    Args:
        databases: In the order in which they are listed.

    Raises:
        ValueError: two have the same name, or a URL is of no supported kind.
    """

    def __init__(self, databases: Iterable[Database]) -> None:
        self._engines: dict[str, Engine] = {}
        for database in databases:
            if database.name in self._engines:
                raise ValueError(f"database {database.name}: the name is given twice")
            self._engines[database.name] = engine_of(database)

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return list(self._engines)

    def resolve(self, name: str = DEFAULT) -> str:
        """The name of the database meant: itself, or what `default` stands for.

        Raises:
            ToolError: NOT_FOUND with the known names; INVALID_ARGUMENT where `default` could be
                any of several.
        """
        known = ", ".join(self._engines)
        if name in self._engines:
            return name
        if not self._engines:
            raise ToolError(
                Code.NOT_FOUND,
                "no database is configured",
                origin=Origin.ENVIRONMENT,
                hint="start the server with --database NAME=URL",
            )
        if name != DEFAULT:
            raise ToolError(
                Code.NOT_FOUND,
                f"there is no database {name[:100]!r}; there is: {known}",
                hint="pass one of these names as `database`; a URL or path is not a name",
            )
        if len(self._engines) > 1:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"which database is meant? `database` is one of: {known}",
            )
        return next(iter(self._engines))

    def get(self, name: str = DEFAULT) -> Engine:
        """The database meant.

        Raises:
            ToolError: as of `resolve`.
        """
        return self._engines[self.resolve(name)]

    def place(self, name: str = DEFAULT) -> str | None:
        """The place of the database meant (`Engine.place`), or None where there is none."""
        try:
            return self.get(name).place
        except ToolError:
            return None  # the call itself says what is wrong with the name

    async def purge_inboxes(self, older_than: float) -> dict[str, int | ToolError]:
        """Forget, in each database, what was recorded before a Unix time (`Engine.purge_inbox`).

        Returns:
            By name, the number of records removed, or why none could be.
        """
        removed: dict[str, int | ToolError] = {}
        for name, engine in self._engines.items():
            try:
                removed[name] = await engine.purge_inbox(older_than, timeout=PURGE_TIMEOUT)
            except ToolError as error:
                removed[name] = error
        return removed
