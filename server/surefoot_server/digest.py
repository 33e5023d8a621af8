"""Digests of JSON values that give no short secret away."""

import hashlib
import hmac
import math
from typing import Any, cast

import rfc8785

LARGEST_JSON_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; larger integers are written as text."""


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785); what it has no form for (2^53 and more, NaN) as an object."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.IntegerDomainError, rfc8785.FloatDomainError):
        return rfc8785.dumps(_representable(value))


def _representable(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value)
        return {name: _representable(item) for name, item in items.items()}
    if isinstance(value, list):
        return [_representable(item) for item in cast(list[Any], value)]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_JSON_INTEGER:
        return {"int": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def mac(secret: bytes, value: Any) -> str:
    """HMAC-SHA-256 of canonical JSON, in hexadecimal: a digest that gives no short secret away."""
    return hmac.new(secret, canonical(value), hashlib.sha256).hexdigest()
