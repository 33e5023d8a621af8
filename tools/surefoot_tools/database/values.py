"""Values between JSON and a database: parameters in, rows out."""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools.errors import Code, ToolError

Json = bool | int | float | str | dict[str, str] | None
"""A value of a row: text, numbers, booleans and null as themselves, bytes as `{"base64": "..."}`,
and what JSON has no number for (infinity) as text."""

Native = int | float | str | bytes | None
"""A value as a driver takes and gives it."""

INT_RANGE = range(-(2**63), 2**63)

COLUMN_NAME = 200
"""Characters of a column's name that are kept: an unnamed expression is named by its own SQL."""


class Blob(BaseModel):
    """Bytes in JSON."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    base64: str
    """The bytes in base64 (RFC 4648, section 4)."""


Parameter = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str | Blob | None
"""A value to bind, as a caller writes it. SQLite binds a boolean as 1 or 0."""

Parameters = list[Parameter] | dict[str, Parameter] | None
"""By position (`?`, in PostgreSQL `$1`), by name (`:name`, without the colon; not in PostgreSQL),
or none."""


def to_native(value: Parameter) -> Native:
    """The value to bind.

    Raises:
        ToolError: INVALID_ARGUMENT for an integer beyond 64 bits or for what is no base64.
    """
    if isinstance(value, Blob):
        try:
            return base64.b64decode(value.base64, validate=True)
        except (binascii.Error, ValueError) as error:
            message = f"a parameter's base64 cannot be decoded: {error}"
            raise ToolError(Code.INVALID_ARGUMENT, message) from error
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and value not in INT_RANGE:
        digits = str(value) if abs(value) < 10**40 else "one of more than 40 digits"
        message = f"a parameter is an integer beyond 64 bits: {digits}; pass it as text"
        raise ToolError(Code.INVALID_ARGUMENT, message)
    return value


def bindings(parameters: Parameters) -> list[Native] | dict[str, Native] | None:
    """What to bind: by position, by name, or nothing.

    Raises:
        ToolError: INVALID_ARGUMENT, as of `to_native`.
    """
    if isinstance(parameters, dict):
        return {name: to_native(value) for name, value in parameters.items()}
    return None if parameters is None else [to_native(value) for value in parameters]


def to_json(value: Native) -> Json:
    """The value as JSON can carry it. Integers stay integers, also beyond 2**53."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # 'inf', '-inf', 'nan'
    return value


def json_bytes(row: Sequence[Json]) -> int:
    """Bytes that a row takes as JSON."""
    return len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())


def column_name(name: str) -> str:
    """A column's name, cut where it is longer than a name should be."""
    return name if len(name) <= COLUMN_NAME else name[: COLUMN_NAME - 1] + "…"


def unique_names(names: Sequence[str]) -> list[str]:
    """The names of columns with no two the same: the second `id` is `id_2`."""
    taken = set(names)
    seen: set[str] = set()
    unique: list[str] = []
    for name in names:
        told, number = name, 1
        while told in seen or (number > 1 and told in taken):
            number += 1
            told = f"{name}_{number}"
        seen.add(told)
        unique.append(told)
    return unique
