"""A call as it comes in and as it is answered: its key, its fingerprint, its digests."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import rfc8785

from surefoot_server.journal.states import Disposition
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.tool import Report, report_nothing

KEY_FORMAT = re.compile(r"[A-Za-z0-9._:/-]{1,255}")
LARGEST_JSON_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; larger integers are written as text."""


class KeySource(StrEnum):
    """Where a key came from."""

    PARAMETER = "idempotencyKey"
    META = "meta"
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Request:
    """One request received, free of MCP's types."""

    tool: str
    arguments: dict[str, Any]
    key: str | None = None
    principal: str = "local"
    client: str | None = None
    sender_attempt: int | None = None
    fault: str | None = None
    """Where this request asks the server to fail on purpose; see `faults`."""
    report: Report = report_nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is told."""

    outcome: Outcome
    disposition: Disposition
    receipt_id: str
    text: str = ""
    """The result for the model; empty when there is none."""
    call_id: str | None = None
    attempt: int | None = None

    @property
    def replayed(self) -> bool:
        """Whether it comes from the journal and nothing ran."""
        return self.disposition is Disposition.REPLAYED


class KeyMalformed(ValueError):
    """A key has a character or a length that keys cannot have."""


def check_key(key: object) -> str:
    """The key, if it is one.

    Raises:
        KeyMalformed: it is not.
    """
    if isinstance(key, str) and KEY_FORMAT.fullmatch(key):
        return key
    shown = repr(key) if len(repr(key)) <= 80 else repr(key)[:80] + "..."
    raise KeyMalformed(
        f"idempotency key {shown} is malformed; a key is 1 to 255 characters of [A-Za-z0-9._:/-]"
    )


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


def fingerprint(
    secret: bytes, tool: str, version: int, arguments: dict[str, Any], roots: list[str]
) -> str:
    """What a key is held to: the tool, its schema's major version, the arguments, the roots.

    Args:
        secret: The journal's own key.
        tool: Its name.
        version: Major version of its argument schema.
        arguments: Validated, with defaults.
        roots: Of this server: the same relative path in other roots is another call.
    """
    return mac(secret, {"tool": tool, "version": version, "arguments": arguments, "roots": roots})


def answer_mac(secret: bytes, outcome: Outcome) -> str:
    """Digest of an answer as both sides of the wire see it; `surefoot reconcile` compares them."""
    return mac(
        secret,
        {
            "is_error": outcome.error is not None,
            "structured": outcome.result,
            "error": None if outcome.error is None else error_fields(outcome.error),
        },
    )


def error_fields(error: Error) -> dict[str, Any]:
    """An error as `_meta` shows it, but for the call id."""
    return {
        "code": error.code.value,
        "origin": error.origin.value,
        "applied": error.applied.value,
        "message": error.message,
        "hint": error.hint,
        "retry_after": error.retry_after,
    }
