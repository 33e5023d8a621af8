"""The URL of a database on a server, read: where it is, and as whom to connect.

Needs no driver. The password stays out of every message and every `repr`.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

OURS = ("mode", "password_env", "password_file")
"""Parameters that are taken out before: they are not the driver's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server, and what its URLs may say."""

    scheme: str
    """The one that `Address.place` has."""
    port: int
    """Where a server listens that the URL does not tell the port of."""
    form: str
    """What a URL looks like, for messages."""
    passed_on: tuple[str, ...]
    """Parameters of the driver that may stand after '?', beside our own."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is, and as whom to connect; what is None is libpq's to find."""

    host: str
    """A name, an IP address, or the folder of a Unix socket."""
    port: int
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    """None: the driver's to find (libpq looks into PGPASSWORD and ~/.pgpass)."""
    more: tuple[tuple[str, str], ...] = ()
    """Of `Kind.passed_on`."""
    scheme: str = "postgresql"

    @property
    def place(self) -> str:
        """What names the database itself, whoever connects: `scheme://host:port/database`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"

    def scrub(self, text: str) -> str:
        """The text without the password, should a driver have put it there."""
        return text.replace(self.password, "***") if self.password else text


def read_address(name: str, url: str, kind: Kind) -> Address:
    """Read `scheme://user:password@host:port/database?sslmode=...`.

    Args:
        name: The database's name, for messages.
        url: Without what is ours after the '?'.
        kind: Of server.

    Raises:
        ValueError: what is wrong; no part of the URL is shown, it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        # The reason would show a part of the URL.
        raise ValueError(
            f"database {name}: the URL cannot be read; it has one host and one port, and"
            " characters such as '/', '?', '#', '@' in a password are written %2F, %3F, %23, %40"
        ) from None
    known = {key: value for key, value in pairs if key in kind.passed_on}
    if len(known) != len(pairs) or parts.fragment:
        raise ValueError(
            f"database {name}: what follows '?' is not known; there is: "
            + ", ".join((*OURS, *kind.passed_on))
            + "; a '?' or '#' in a password is written %3F or %23"
        )
    host = known.pop("host", None) or unquote(parts.hostname or "")
    database = unquote(parts.path.removeprefix("/"))
    if not host or not database or "/" in database or "," in host:
        raise ValueError(
            f"database {name}: the URL names no host or no database; supported: {kind.form}"
        )
    if "\0" in unquote(url):
        raise ValueError(f"database {name}: the URL has a NUL character")
    return Address(
        host,
        kind.port if port is None else port,
        database,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
        tuple(sorted(known.items())),
        kind.scheme,
    )
