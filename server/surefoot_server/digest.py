"""Digests of JSON values that give no short secret away."""

import hashlib
import hmac
from typing import Any, cast

import rfc8785

LARGEST_JSON_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; larger integers are written as text."""


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785); integers beyond 2^53 as `{"int": "digits"}`."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_without_large_integers(value))


def _without_large_integers(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value)
        return {name: _without_large_integers(item) for name, item in items.items()}
    if isinstance(value, list):
        return [_without_large_integers(item) for item in cast(list[Any], value)]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_JSON_INTEGER:
        return {"int": str(value)}
    return value


def mac(secret: bytes, value: Any) -> str:
    """HMAC-SHA-256 of canonical JSON, in hexadecimal: a digest that gives no short secret away."""
    return hmac.new(secret, canonical(value), hashlib.sha256).hexdigest()
