"""The URLs of PostgreSQL."""

from surefoot_tools.database.server_url import Address, Kind, read_address

__all__ = ["FORM", "PASSED_ON", "SCHEMES", "Address", "read_url"]

SCHEMES = ("postgresql", "postgres")

FORM = "postgresql://USER@HOST:PORT/DATABASE, with ?mode=rw to allow writes"

PASSED_ON = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding")
"""Parameters of libpq that may stand after '?'."""

_KIND = Kind("postgresql", 5432, FORM, PASSED_ON)


def read_url(name: str, url: str) -> Address:
    """Read `postgresql://user:password@host:port/database?sslmode=...`.

    Args:
        name: The database's name, for messages.
        url: Without what is ours after the '?'.

    Raises:
        ValueError: what is wrong; no part of the URL is shown, it may hold a password.
    """
    return read_address(name, url, _KIND)
