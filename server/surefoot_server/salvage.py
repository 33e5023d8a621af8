"""What can still be read from a line that is no JSON-RPC message: whether it is JSON, and its id.

Part of `stdio`. Every function here takes time linear in the line, whatever is in it: these are
lines that nobody could parse, also on purpose.
"""

import re
from typing import Any

import mcp_types as types
import pydantic_core

MOST_TOKENS = 300_000
"""Strings and runs of brackets that are looked through for an id, a quarter of a second's work."""

_STRING = rb'"(?:[^"\\]++|\\.)*+'
# A string that does not end is taken to the end of the line: tried anew from each quote in it,
# it would cost time by the square of its length.
_TOKEN = re.compile(_STRING + rb'(?:"|\\?\Z)|\{+|\}+|\[+|\]+', re.DOTALL)
_ID = re.compile(rb"\s*+:\s*+(-?\d{1,18}+(?![\d.eE])|" + _STRING + rb'")')
_OPENING, _CLOSING = b"{[", b"}]"


def top_level_id(line: bytes) -> tuple[types.RequestId | None, bool]:
    """The id of a line that is no message, so that it can be answered; None if not readable.

    Only the top level counts: `arguments` may hold an `id` of their own.

    Returns:
        The id, and whether the line is JSON all the same.
    """
    return _find_id(line), _parse(line) is not _NOT_JSON


def _find_id(line: bytes) -> types.RequestId | None:
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(line)):
        if count == MOST_TOKENS:
            return None
        text = token.group()
        if text[:1] in _OPENING:
            depth += len(text)
        elif text[:1] in _CLOSING:
            depth -= len(text)
        elif depth == 1 and text == b'"id"':
            value = _ID.match(line, token.end())
            if value is not None:
                return _as_id(value.group(1))
    return None


def _as_id(text: bytes) -> types.RequestId | None:
    value = _parse(text)
    return value if isinstance(value, str | int) else None


_NOT_JSON = object()


def _parse(text: bytes) -> Any:
    try:
        return pydantic_core.from_json(text)
    except ValueError:
        return _NOT_JSON
