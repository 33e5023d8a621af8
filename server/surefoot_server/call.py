"""A call as it comes in and as it is answered: its key and its fingerprint."""

import json
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from surefoot_server.access import EVERYTHING, Access
from surefoot_server.consent import Consent, Question
from surefoot_server.digest import mac
from surefoot_server.ids import new_id
from surefoot_server.journal.records import NewCall, Receipt
from surefoot_server.journal.states import Disposition
from surefoot_server.redact import MASK, redact
from surefoot_tools import meta
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Arguments, Effect, Report, report_nothing

KEY_FORMAT = re.compile(r"[A-Za-z0-9._:/-]{1,255}")


class KeySource(StrEnum):
    """Where a key came from."""

    PARAMETER = "idempotencyKey"
    META = "meta"
    HOST = "host"
    NONE = "none"


REPEAT = "repeat"
"""The argument of every tool with an effect by which a caller without a key says: once more."""


def repeating(tool: AnyTool) -> str:
    """What says that a call without a key is meant once more."""
    return "repeat: true" if tool.repeat_argument else f"{meta.REPEAT}: true in its _meta"


def repeat_note(tool: AnyTool) -> str:
    """What is said beside the answer to an earlier call that was not delivered."""
    return (
        "This is about an earlier call in the same words whose answer was not delivered; nothing"
        f" ran just now. To run it once more on purpose, call it with {repeating(tool)}."
    )


class StoreArguments(StrEnum):
    """How much of the arguments the journal keeps (`--store-arguments`)."""

    NONE = "none"
    REDACTED = "redacted"
    ALL = "all"


@dataclass(slots=True, eq=False)
class Connection:
    """Where requests come from and their answers go."""

    lost: bool = False
    """It is gone: no answer can be delivered any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request received, free of MCP's types."""

    tool: str
    arguments: dict[str, Any]
    key: str | None = None
    access: Access = EVERYTHING
    """Who asks, and what that principal may use."""
    client: str | None = None
    sender_attempt: int | None = None
    fault: str | None = None
    """Where this request asks the server to fail on purpose; see `faults`."""
    report: Report = report_nothing
    connection: Connection = field(default_factory=Connection)
    repeat: bool = False
    """Whether its `_meta` says that it is meant once more."""
    deadline: float = math.inf
    """When its caller stops waiting, on anyio's clock."""
    consent: Consent | None = None
    """How a person behind the caller can be asked; None: nobody can."""

    @property
    def principal(self) -> str:
        """Whose keys and calls these are."""
        return self.access.principal


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
    note: str = ""
    """What the model must know beside it: that it is about an earlier call."""
    question: Question | None = None
    """What a person is asked before the call begins, instead of all this."""

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
    secret: bytes,
    tool: str,
    version: int,
    arguments: dict[str, Any],
    roots: list[str],
    target: str | None = None,
) -> str:
    """What a key is held to: the tool, its schema's major version, the arguments, the roots.

    Args:
        secret: The journal's own key.
        tool: Its name.
        version: Major version of its argument schema.
        arguments: Validated, with defaults.
        roots: Of this server: the same relative path in other roots is another call.
        target: What the tool reaches outside of them: the same name of another database, likewise.
    """
    held = {"tool": tool, "version": version, "arguments": arguments, "roots": roots}
    return mac(secret, held if target is None else held | {"target": target})


FOREIGN = "call_tool_result"
"""The field of a result that holds a whole `CallToolResult`, of a tool that is not ours."""


def foreign_result(outcome: Outcome) -> dict[str, Any] | None:
    """The `CallToolResult` that a tool that is not ours gave, on the wire; None of our own."""
    return None if outcome.result is None else outcome.result.get(FOREIGN)


def protocol_error(outcome: Outcome) -> dict[str, Any] | None:
    """The JSON-RPC error that a tool that is not ours answered with, if it did."""
    return None if outcome.result is None else outcome.result.get("protocol_error")


def answer_mac(secret: bytes, outcome: Outcome) -> str:
    """Digest of an answer as both sides of the wire see it; `surefoot reconcile` compares them."""
    foreign = foreign_result(outcome)
    return mac(
        secret,
        {
            "is_error": outcome.error is not None,
            "structured": outcome.result if foreign is None else foreign.get("structuredContent"),
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


@dataclass(frozen=True, slots=True)
class Register:
    """Makes the journal's rows of a request.

    Args:
        secret: The journal's own key.
        roots: Of this server.
        store: How much of the arguments is kept.
    """

    secret: bytes
    roots: list[str]
    store: StoreArguments = StoreArguments.REDACTED
    scope: str = ""
    """Digest of the roots."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", mac(self.secret, self.roots))

    def new_call(
        self, request: Request, tool: AnyTool, arguments: Arguments, *, repeated: bool, now: float
    ) -> NewCall:
        """The call that a request would begin; its evidence is taken later."""
        print_of, narrowed = None, request.access.roots
        if request.key is not None or tool.effect is not Effect.SAFE:
            print_of = fingerprint(
                self.secret,
                tool.name,
                tool.version,
                arguments.model_dump(mode="json"),
                self.roots if narrowed is None else [str(root) for root in narrowed],
                tool.target(arguments),
            )
        return NewCall(
            call_id=new_id(),
            principal=request.principal,
            key=request.key,
            tool=tool.name,
            effect=tool.effect,
            fingerprint=print_of,
            scope=self.scope,
            repeated=repeated,
            arguments=self._stored(tool, request.arguments),
            evidence={},
            at=now,
        )

    def _stored(self, tool: AnyTool, arguments: dict[str, Any]) -> str:
        match self.store:
            case StoreArguments.NONE:
                return "null"
            case StoreArguments.ALL:
                return json.dumps(arguments)
            case StoreArguments.REDACTED:
                hidden = dict.fromkeys(arguments.keys() & tool.secret_arguments, MASK)
                return json.dumps(redact(arguments | hidden))

    def new_receipt(
        self,
        request: Request,
        call_id: str | None,
        disposition: Disposition,
        *,
        now: float,
        digest: bool = True,
    ) -> Receipt:
        """The receipt of a request, before it is answered; `digest`: with that of its arguments."""
        return Receipt(
            receipt_id=new_id(),
            call_id=call_id,
            principal=request.principal,
            client=request.client,
            key=request.key,
            tool=request.tool,
            sender_attempt=request.sender_attempt,
            disposition=disposition,
            arguments_mac=mac(self.secret, request.arguments) if digest else None,
            received_at=now,
        )
