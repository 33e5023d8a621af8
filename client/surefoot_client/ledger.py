"""The server's side of the double entry, as rows; the command line brings them from the journal.

Before `reconcile.py`. Client and server share no code, so these are the client's own types.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A request that the server received."""

    receipt_id: str
    call_id: str | None
    """None for requests that begin no call: conflict, denied, invalid."""
    principal: str
    key: str | None
    tool: str
    sender_attempt: int | None
    disposition: str
    code: str | None
    """Of the error that it was answered with."""
    arguments_mac: str
    """Digest of the arguments as received."""
    answer_mac: str | None
    """Digest of `{is_error, structured, error}`; None when the server died before the answer."""


@dataclass(frozen=True, slots=True)
class CallRow:
    """An intent, as the server carried it out."""

    call_id: str
    principal: str
    key: str | None
    tool: str
    effect: str
    state: str
    code: str | None
    origin: str | None
    applied: str | None
    result_mac: str | None
    """Digest of the structured result; None where it is not kept."""
    resolved: str | None
    """What a person said of it when it was in doubt; its last attempt stays in doubt."""
    begun_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One execution of a call."""

    call_id: str
    number: int
    state: str
    code: str | None
    origin: str | None
    applied: str | None


@dataclass(frozen=True, slots=True)
class JobRow:
    """What a call left behind that went on."""

    job_id: str
    call_id: str
    state: str
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole book."""

    receipts: Sequence[ReceiptRow]
    calls: Sequence[CallRow]
    attempts: Sequence[AttemptRow]
    mac: Callable[[Any], str]
    """Digest of a JSON value under the journal's own key."""
    jobs: Sequence[JobRow] = ()
