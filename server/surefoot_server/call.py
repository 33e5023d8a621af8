"""A call as it comes in and as it is answered: its key and its fingerprint."""

import json
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from uuid6 import uuid7

from surefoot_server.digest import mac
from surefoot_server.journal.records import NewCall, Receipt
from surefoot_server.journal.states import Disposition
from surefoot_server.redact import redact
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Report, report_nothing

KEY_FORMAT = re.compile(r"[A-Za-z0-9._:/-]{1,255}")


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


def new_call(
    request: Request, tool: AnyTool, arguments: Arguments, secret: bytes, roots: list[str]
) -> NewCall:
    """The call that a request would begin; its evidence is taken later."""
    print_of = fingerprint(
        secret, tool.name, tool.version, arguments.model_dump(mode="json"), roots
    )
    return NewCall(
        call_id=uuid7().hex,
        principal=request.principal,
        key=request.key,
        tool=tool.name,
        effect=tool.effect,
        fingerprint=print_of,
        arguments=json.dumps(redact(request.arguments)),
        evidence={},
        at=time.time(),
    )


def new_receipt(
    request: Request, call_id: str | None, disposition: Disposition, secret: bytes
) -> Receipt:
    """The receipt of a request, before it is answered."""
    return Receipt(
        receipt_id=uuid7().hex,
        call_id=call_id,
        principal=request.principal,
        client=request.client,
        key=request.key,
        tool=request.tool,
        sender_attempt=request.sender_attempt,
        disposition=disposition,
        arguments_mac=mac(secret, request.arguments),
        received_at=time.time(),
    )
