"""How a call ended, and what recovery can find out about one that did not."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from surefoot_tools.errors import Applied, Code, Origin, ToolError


class Status(StrEnum):
    """How a call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True, slots=True)
class Error:
    """A failure as it is stored and shown: `code` x `origin` x `applied`, and words."""

    code: Code
    origin: Origin
    applied: Applied
    message: str
    hint: str | None = None
    retry_after: float | None = None
    """Seconds."""

    @classmethod
    def of(cls, error: ToolError) -> "Error":
        """The stored form of what a tool raised."""
        return cls(
            error.code, error.origin, error.applied, error.message, error.hint, error.retry_after
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: with a `result`, or with an `error`.

    A failed tool that is not ours may have said something of its own (`ToolError.result`): then
    both are there.
    """

    status: Status
    result: dict[str, Any] | None = None
    """What the tool said, as JSON of its `Result` type."""
    error: Error | None = None

    @classmethod
    def failed(cls, error: Error, result: dict[str, Any] | None = None) -> "Outcome":
        """A failure; one whose effect is unknown is in doubt (in doubt beats a wrong 'failed')."""
        status = Status.IN_DOUBT if error.applied is Applied.UNKNOWN else Status.FAILED
        return cls(status, result, error)
