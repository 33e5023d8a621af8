"""The vocabulary of failure: code, origin, applied, and the one exception that a tool raises.

Before it: nothing. After it: `outcome.py` (how a call ended) and `retry.py` (what to do about it).
"""

from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Canonical status code. Source: gRPC status codes (google.rpc.Code)."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    UNAVAILABLE = "UNAVAILABLE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNKNOWN = "UNKNOWN"
    DATA_LOSS = "DATA_LOSS"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    OUT_OF_RANGE = "OUT_OF_RANGE"


class Origin(StrEnum):
    """Whose fault a failure is."""

    MODEL = "model"
    CLIENT = "client"
    TRANSPORT = "transport"
    SERVER = "server"
    TOOL = "tool"
    ENVIRONMENT = "environment"
    POLICY = "policy"
    PROVIDER = "provider"


class Applied(StrEnum):
    """Whether the effect of a failed call happened."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


DEFAULT_ORIGIN: dict[Code, Origin] = {
    Code.INVALID_ARGUMENT: Origin.MODEL,
    Code.NOT_FOUND: Origin.MODEL,
    Code.ALREADY_EXISTS: Origin.MODEL,
    Code.PERMISSION_DENIED: Origin.POLICY,
    Code.FAILED_PRECONDITION: Origin.MODEL,
    Code.ABORTED: Origin.ENVIRONMENT,
    Code.RESOURCE_EXHAUSTED: Origin.ENVIRONMENT,
    Code.DEADLINE_EXCEEDED: Origin.TOOL,
    Code.CANCELLED: Origin.CLIENT,
    Code.UNAVAILABLE: Origin.ENVIRONMENT,
    Code.UNIMPLEMENTED: Origin.MODEL,
    Code.INTERNAL: Origin.SERVER,
    Code.UNKNOWN: Origin.SERVER,
    Code.DATA_LOSS: Origin.ENVIRONMENT,
    Code.UNAUTHENTICATED: Origin.CLIENT,
    Code.OUT_OF_RANGE: Origin.MODEL,
}
"""Whose fault a code is unless the raiser knows better."""


class ToolError(Exception):
    """A tool could not do what was asked; the only exception that a tool raises.

    Any other exception is a bug and is accounted as INTERNAL.

    Args:
        code: What kind of failure.
        message: What was wrong, with the value, and what would be right. No secrets.
        applied: `no` only if the effect cannot have begun or was provably rolled back.
        origin: Whose fault; by default the one of `DEFAULT_ORIGIN`.
        hint: The next step for whoever must act on it.
        retry_after: Seconds after which a retry makes sense.
        result: What the tool said of it in its own form, as JSON of its `Result`; it goes to the
            caller as it is.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        applied: Applied = Applied.NO,
        origin: Origin | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.applied = applied
        self.origin = origin if origin is not None else DEFAULT_ORIGIN[code]
        self.hint = hint
        self.retry_after = retry_after
        self.result = result
