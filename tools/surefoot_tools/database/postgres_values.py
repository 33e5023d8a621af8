"""Values between JSON and PostgreSQL, as the server writes them.

What JSON has no type for is given as PostgreSQL's own text, so that nothing is lost: Python's
`datetime` ends at year 9999 and its `timedelta` knows no months.
"""

import re

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.types.string import TextLoader

from surefoot_tools.database.values import Blob, Native, Parameters, to_native
from surefoot_tools.errors import Code, ToolError

_NUMBERS = {"bool", "int2", "int4", "int8", "oid", "float4", "float8", "bytea"}
"""Types that the driver's own loaders give as JSON's types, or as bytes."""

_OFFSET = re.compile(r"[+-]\d\d(:\d\d)?(:\d\d)?$")


class TimestampLoader(Loader):
    """ISO 8601 with a 'T', and minutes in the offset; `infinity` and years BC as they are."""

    def load(self, data: Buffer) -> str:
        """As of `Loader`."""
        text = bytes(data).decode().replace(" ", "T", 1)
        offset = _OFFSET.search(text, 11)
        return text + ":00" if offset is not None and offset[1] is None else text


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    for info in psycopg.adapters.types:
        if info.name not in _NUMBERS:
            is_time = info.name in ("timestamp", "timestamptz")
            adapters.register_loader(info.oid, TimestampLoader if is_time else TextLoader)
        adapters.register_loader(info.array_oid, TextLoader)
    return adapters


ADAPTERS = _adapters()
"""For every connection."""


def bindings(parameters: Parameters) -> list[Native]:
    """What to bind to `$1`, `$2`, ...

    Raises:
        ToolError: INVALID_ARGUMENT: names, which PostgreSQL does not have, or as of `to_native`.
    """
    if isinstance(parameters, dict):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "PostgreSQL's parameters have no names",
            hint="write $1, $2, ... in the SQL and pass `parameters` as a list",
        )
    return [_native(value) for value in parameters or []]


def _native(value: bool | int | float | str | Blob | None) -> Native:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and "\0" in value:
        raise ToolError(
            Code.INVALID_ARGUMENT, "a parameter has a NUL character, which PostgreSQL cannot store"
        )
    return to_native(value)
