"""The URLs of MySQL and MariaDB."""

import ssl
from pathlib import Path
from typing import Any

from surefoot_tools.database.server_url import Address, Kind, read_address

SCHEMES = ("mysql", "mariadb")

FORM = "mysql://USER@HOST:PORT/DATABASE (mariadb:// is the same), with ?mode=rw to allow writes"

_KIND = Kind("mysql", 3306, FORM, ("host", "sslmode", "sslrootcert", "sslcert", "sslkey"))

SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
"""As libpq names them. `require` encrypts and takes any certificate."""


def read_url(name: str, url: str) -> Address:
    """Read `mysql://user:password@host:port/database?sslmode=...`.

    Args:
        name: The database's name, for messages.
        url: Without what is ours after the '?'.

    Raises:
        ValueError: what is wrong; no part of the URL is shown, it may hold a password.
    """
    address = read_address(name, url, _KIND)
    more = dict(address.more)
    mode = more.get("sslmode", "disable")
    if mode not in SSL_MODES:
        raise ValueError(f"database {name}: sslmode is one of: {', '.join(SSL_MODES)}")
    if address.user is None:
        raise ValueError(f"database {name}: the URL names no user; supported: {FORM}")
    if mode == "disable" and len(more) > ("sslmode" in more):
        raise ValueError(f"database {name}: certificates need sslmode={' or '.join(SSL_MODES[1:])}")
    return address


def where(address: Address) -> dict[str, Any]:
    """Host and port for the driver, or the Unix socket's file."""
    if address.host.startswith("/"):
        return {"unix_socket": address.host}
    return {"host": address.host, "port": address.port}


def encryption(address: Address) -> ssl.SSLContext | None:
    """What its `sslmode` asks for; None for no encryption.

    Raises:
        OSError: a file of it cannot be read, or is none.
    """
    more = dict(address.more)
    mode = more.get("sslmode", "disable")
    if mode == "disable":
        return None
    authority = more.get("sslrootcert")
    context = ssl.create_default_context(cafile=None if authority is None else Path(authority))
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in more:
        context.load_cert_chain(more["sslcert"], more.get("sslkey"))
    return context
