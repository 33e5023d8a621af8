"""Values between JSON and MySQL or MariaDB.

Parameters become literals that no text can break out of: a string is written as its bytes in
hexadecimal. Rows come as the server writes them, so that nothing is lost: Python has no date
0000-00-00, and its `timedelta` is no time of day.
"""

from collections.abc import Callable
from typing import Any

from asyncmy.constants import FIELD_TYPE

from surefoot_tools.database.values import Native, Parameter, Parameters, to_native
from surefoot_tools.errors import Code, ToolError

UNSIGNED = range(2**64)
"""What BIGINT UNSIGNED holds."""


def text_literal(text: str) -> str:
    """A string."""
    return f"_utf8mb4 X'{_encoded(text).hex()}'"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"a text has a lone surrogate, which UTF-8 cannot have: {error}"
        ) from error


def literal(value: Parameter) -> str:
    """The value as SQL.

    Raises:
        ToolError: INVALID_ARGUMENT, as of `to_native`; integers up to 2**64 - 1 are taken here.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value in UNSIGNED:
        return str(value)
    native: Native = to_native(value)
    if native is None:
        return "NULL"
    if isinstance(native, bytes):
        return f"X'{native.hex()}'"
    if isinstance(native, str):
        return text_literal(native)
    # Without an exponent it would be a DECIMAL.
    return (
        f"{native!r}e0" if isinstance(native, float) and "e" not in repr(native) else repr(native)
    )


def literals(parameters: Parameters) -> list[str]:
    """What to bind to each `?`.

    Raises:
        ToolError: INVALID_ARGUMENT: names, which a prepared statement does not have, or as of
            `literal`.
    """
    if isinstance(parameters, dict):
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "MySQL's parameters have no names",
            hint="write ? in the SQL and pass `parameters` as a list",
        )
    return [literal(value) for value in parameters or []]


def _moment(text: str) -> str:
    """ISO 8601 with a 'T'."""
    return text.replace(" ", "T", 1)


def _bits(data: bytes) -> int:
    """A BIT column is a number of up to 64 bits."""
    return int.from_bytes(data)


DECODERS: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys(
        (
            FIELD_TYPE.TINY,
            FIELD_TYPE.SHORT,
            FIELD_TYPE.INT24,
            FIELD_TYPE.LONG,
            FIELD_TYPE.LONGLONG,
            FIELD_TYPE.YEAR,
        ),
        int,
    ),
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.DOUBLE: float,
    FIELD_TYPE.TIMESTAMP: _moment,
    FIELD_TYPE.DATETIME: _moment,
    FIELD_TYPE.BIT: _bits,
}
"""By type of column; all others are texts, or bytes."""
