"""Which databases there are: read from `NAME=URL`, found by name.

Opens nothing: a database is opened by each call that uses it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from surefoot_tools.database import mysql_url, postgres_url
from surefoot_tools.database.engine import Engine
from surefoot_tools.database.server_url import OURS, Address
from surefoot_tools.database.sqlite import SqliteEngine
from surefoot_tools.errors import Code, Origin, ToolError

DEFAULT = "default"
"""The name that stands for the database called so, else for the only one there is."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SQLITE = "sqlite:///relative/path.db or sqlite:////absolute/path.db, with ?mode=rw to allow writes"
_FORMS = f"{_SQLITE}; {postgres_url.FORM}; {mysql_url.FORM}"
_SERVERS = {
    **dict.fromkeys(postgres_url.SCHEMES, postgres_url.read_url),
    **dict.fromkeys(mysql_url.SCHEMES, mysql_url.read_url),
}
"""What reads a URL, by its scheme."""

PURGE_TIMEOUT = 30.0
"""Seconds for one database."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database that the tools may use."""

    name: str
    url: str = field(repr=False)
    """In SQLAlchemy's form, without `mode`: `sqlite:///relative.db`, `sqlite:////absolute.db`,
    `postgresql://user:password@host:port/database`, `mysql://...`."""
    writable: bool = False
    password: str | None = field(default=None, repr=False)
    """From the environment or a file; None: from the URL, if there is one."""

    def files(self) -> list[Path]:
        """The files that hold it, canonical: what no other tool may write; none of a server's."""
        if _scheme(self.url) in _SERVERS:
            return []
        path = _sqlite_path(self.name, self.url).resolve()
        return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal")]


def parse_database(text: str, environment: Mapping[str, str] | None = None) -> Database:
    """Read `NAME=URL`, with `?mode=ro` or `?mode=rw`, and where a server's password is.

    Args:
        text: Of `--database`.
        environment: Where `password_env=VARIABLE` looks.

    Raises:
        ValueError: with what is wrong and what would be right; shows no part of the URL but its
            scheme, for it may hold a password.
    """
    name, equals, url = text.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        what = f"the name {name!r}" if equals else "an argument without '='"
        raise ValueError(f"{what} is not NAME=URL with a name of letters, digits and _.-")
    if _scheme(url) in _SERVERS:
        return _parse_server(name, url, environment or {})
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


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return "" if found is None else found[1].lower()


def _parse_server(name: str, url: str, environment: Mapping[str, str]) -> Database:
    """Take out what is ours; the rest of what follows '?' is the driver's and stays."""
    front, _, query = url.partition("?")
    ours: dict[str, list[str]] = {key: [] for key in OURS}
    rest: list[str] = []
    for part in query.split("&") if query else []:
        key, _, value = part.partition("=")
        if key in ours:
            ours[key].append(unquote(value))
        else:
            rest.append(part)
    url = f"{front}?{'&'.join(rest)}" if rest else front
    address = _SERVERS[_scheme(url)](name, url)
    places = ours["password_env"] + ours["password_file"]
    if len(places) + (address.password is not None) > 1:
        raise ValueError(
            f"database {name}: its password is given twice; give one of password_env,"
            " password_file, or a password in the URL"
        )
    password = None
    if ours["password_env"]:
        password = _from_environment(name, places[0], environment)
    elif places:
        password = _from_file(name, Path(places[0]))
    return Database(name, url, writable=_writable(name, ours["mode"]), password=password)


def _from_environment(name: str, variable: str, environment: Mapping[str, str]) -> str:
    try:
        return environment[variable]
    except KeyError:
        raise ValueError(
            f"database {name}: the environment has no variable {variable!r}, where password_env"
            " says that its password is"
        ) from None


def _from_file(name: str, path: Path) -> str:
    """The first line; a file that others may read is not refused, as a container mounts such."""
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(
            f"database {name}: its password_file {str(path)!r} cannot be read: {reason}"
        ) from None


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
    scheme = _scheme(database.url)
    if scheme not in _SERVERS:
        path = _sqlite_path(database.name, database.url)
        return SqliteEngine(database.name, path.absolute(), writable=database.writable)
    address = _SERVERS[scheme](database.name, database.url)
    if database.password is not None:
        address = replace(address, password=database.password)
    kind, extra = ("MySQL", "mysql") if scheme in mysql_url.SCHEMES else ("PostgreSQL", "postgres")
    try:
        return _server_engine(extra, database, address)
    except ImportError as error:
        raise ValueError(
            f"database {database.name}: {kind} needs its driver: pip install"
            f" 'surefoot[{extra}]' ({error})"
        ) from error


def _server_engine(extra: str, database: Database, address: Address) -> Engine:
    # Imported here: the drivers are extras.
    if extra == "mysql":
        from surefoot_tools.database.mysql import MysqlEngine

        return MysqlEngine(database.name, address, writable=database.writable)
    from surefoot_tools.database.postgres import PostgresEngine

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
