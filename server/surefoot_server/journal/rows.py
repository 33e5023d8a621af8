"""Between the journal's rows and the executor's records."""

import json
import re
from dataclasses import asdict
from typing import Any

from surefoot_server.journal.records import Closing, Entry, Job, NewCall, Receipt, Row
from surefoot_server.journal.states import State
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.outcome import Error
from surefoot_tools.tool import Effect

# `json.dumps` with options makes an encoder for each call; at 64 callers that is felt.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def to_json(value: Any) -> str:
    """Compact JSON. ASCII: evidence may hold names that are no UTF-8, which no column takes."""
    return _encode(value)


def storable(text: str) -> str:
    """Text from outside as every database takes it: no lone surrogates, no NUL."""
    return _UNSTORABLE.sub("\ufffd", text)


def error_json(error: Error | None) -> str | None:
    """An error as the journal stores it."""
    return None if error is None else to_json(asdict(error))


def parse_error(text: str | None) -> Error | None:
    """An error as the journal stored it."""
    if text is None:
        return None
    row: Row = json.loads(text)
    return Error(
        code=Code(row["code"]),
        origin=Origin(row["origin"]),
        applied=Applied(row["applied"]),
        message=row["message"],
        hint=row["hint"],
        retry_after=row["retry_after"],
    )


def call_row(call: NewCall, owner: str) -> Row:
    """The columns of a call that begins."""
    return {
        "call_id": call.call_id,
        "principal": storable(call.principal),
        "key": call.key,
        "tool": storable(call.tool),
        "effect": call.effect,
        "fingerprint": call.fingerprint,
        "scope": call.scope,
        "repeated": int(call.repeated),
        "arguments": call.arguments,
        "owner": owner,
        "evidence": to_json(call.evidence),
        "at": call.at,
    }


def receipt_row(receipt: Receipt, instance: str) -> Row:
    """The columns of a receipt."""
    return {
        "receipt_id": receipt.receipt_id,
        "call_id": receipt.call_id,
        "instance": instance,
        "principal": storable(receipt.principal),
        "client": None if receipt.client is None else storable(receipt.client),
        "key": None if receipt.key is None else storable(receipt.key),
        "tool": storable(receipt.tool),
        "sender_attempt": receipt.sender_attempt,
        "disposition": receipt.disposition.value,
        "arguments_mac": receipt.arguments_mac,
        "answer_mac": receipt.answer_mac,
        "error": error_json(receipt.error),
        "received_at": receipt.received_at,
    }


def closing_row(closing: Closing) -> Row:
    """The columns that end an attempt and its call."""
    body = closing.outcome.result if closing.keep_result else None
    return {
        "call_id": closing.call_id,
        "number": closing.number,
        "state": State(closing.outcome.status.value).value,
        "result": None if body is None else to_json(body),
        "error": error_json(closing.outcome.error),
        "at": closing.at,
        "receipt_id": closing.receipt_id,
        "answer_mac": closing.answer_mac,
    }


def job_row(job: Job) -> Row:
    """The columns of a job that begins."""
    return {
        "job_id": job.job_id,
        "call_id": job.call_id,
        "principal": storable(job.principal),
        "tool": storable(job.tool),
        "place": job.place,
        "at": job.at,
    }


def to_job(row: Row) -> Job:
    """A job as the executor sees it."""
    names = ("job_id", "call_id", "principal", "tool", "place")
    return Job(**{name: row[name] for name in names}, at=row["begun_at"])


def to_job_end(row: Row) -> JobEnd:
    """How a job ended."""
    return JobEnd(JobState(row["state"]), row["exit_code"], row["signal"], row["ended_at"])


def to_entry(row: Row) -> Entry:
    """A call as the executor sees it."""
    state = State(row["state"])
    kept = row["result"] is not None or row["effect"] == Effect.SAFE
    return Entry(
        call_id=row["call_id"],
        principal=row["principal"],
        key=row["key"],
        tool=row["tool"],
        effect=row["effect"],
        fingerprint=row["fingerprint"],
        scope=row["scope"],
        repeated=bool(row["repeated"]),
        state=state,
        owner=row["owner"],
        attempts=row["attempts"],
        begun_at=row["begun_at"],
        ended_at=row["ended_at"],
        expired=state is State.SUCCEEDED and not kept,
        resolved=row["resolved"],
        evidence=json.loads(row["evidence"]),
        result=None if row["result"] is None else json.loads(row["result"]),
        error=parse_error(row["error"]),
    )
