"""Which databases there are: read from `NAME=URL`, found by name.

Opens nothing: a database is opened by each call that uses it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from surefoot_tools.database.engine import Engine
from surefoot_tools.database.sqlite import SqliteEngine
from surefoot_tools.errors import Code, Origin, ToolError

DEFAULT = "default"
"""The name that stands for the database called so, else for the only one there is."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FORMS = "sqlite:///relative/path.db or sqlite:////absolute/path.db, with ?mode=rw to allow writes"


@dataclass(frozen=True, slots=True)
class Database:
    """A database that the tools may use."""

    name: str
    url: str
    """In SQLAlchemy's form, without query: `sqlite:///relative.db`, `sqlite:////absolute.db`."""
    writable: bool = False

    def files(self) -> list[Path]:
        """The files that hold it, canonical: what no other tool may write."""
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
    url, _, query = url.partition("?")
    _sqlite_path(name, url)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ValueError(f"database {name}: what follows '?' is not key=value") from error
    for key, value in pairs:
        if key != "mode":
            raise ValueError(f"database {name}: parameter {key!r} is not known; there is only mode")
        if value not in ("ro", "rw"):
            raise ValueError(f"database {name}: mode is {value!r}; it is ro (default) or rw")
    if len(pairs) > 1:
        raise ValueError(f"database {name}: mode is given more than once")
    return Database(name, url, writable=pairs == [("mode", "rw")])


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
        ValueError: the URL is of no kind that is supported.
    """
    path = _sqlite_path(database.name, database.url)
    return SqliteEngine(database.name, path.absolute(), writable=database.writable)


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
