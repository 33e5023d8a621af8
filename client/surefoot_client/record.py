"""The driver's log: one JSON object a line, appended before and after each thing happens.

Written by `record_log.py` without ever reading the server's journal; read by `report/`,
`reconcile.py` and whoever resumes a run. The kinds, in the order in which a trial writes them:
`run_started`, `trial_started`, `turn`, `model_call` (started), `model_call` (ended), `proposal`,
`send`, `answer`, `invocation`, `check`, `trial_ended`, `run_ended`.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

FILE_NAME = "records.jsonl"
"""Name of the log in a run's directory."""


class RecordError(ValueError):
    """A line of a log is not a record; str is `FILE:LINE: what is wrong`."""


class Transport(StrEnum):
    """How the driver reaches a server."""

    STDIO = "stdio"
    HTTP = "http"
    """Streamable HTTP."""


class LostReason(StrEnum):
    """Why the driver has no answer to a send."""

    TIMEOUT = "timeout"
    """No answer within the call's timeout; the connection stands."""
    CLOSED = "closed"
    """The connection ended first: the server died, or the connection was cut."""
    DROPPED = "dropped"
    """The answer came and was thrown away on purpose (a fault, or a simulated slip)."""
    UNREADABLE = "unreadable"
    """Something came that is no valid answer."""
    UNREACHABLE = "unreachable"
    """There was no server to send it to, and none could be started."""
    INTERRUPTED = "interrupted"
    """The run was interrupted while the driver waited."""


class RecoveredBy(StrEnum):
    """Which layer turned a first failure into a success."""

    NONE = "none"
    SERVER = "server"
    """The server ran it again by itself, within the first send."""
    DRIVER = "driver"
    """A later send of the same key was answered."""
    MODEL = "model"
    """The model saw the failure and proposed the step anew."""


class Ended(StrEnum):
    """How a trial ended."""

    PASSED = "passed"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    INTERRUPTED = "interrupted"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Line(BaseModel):
    """What every record has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1, 2] = 2
    """Version of the format. Version 1 knows neither drivers nor HTTP; it is still read."""
    at: str = Field(default_factory=_now)
    """RFC 3339, UTC, milliseconds."""
    t: float = Field(default_factory=time.monotonic)
    """Monotonic seconds; differences mean something within one process only."""


class OfTrial(_Line):
    """What every record within a trial has."""

    trial: str
    """`SEQUENCE.MODEL.rREPEAT.RERUN`."""
    driver: int | None = None
    """Which of several drivers it is of, from 0; None where there is one, or it is of all."""

    @property
    def scope(self) -> str:
        """The trial's part of keys."""
        return scope(self.trial, self.driver)


def scope(trial: str, driver: int | None) -> str:
    """The part of keys that stands for a trial, or for the part of one of its drivers."""
    return trial if driver is None else f"{trial}-d{driver}"


class RunStarted(_Line):
    """A process began, or resumed, the run."""

    kind: Literal["run_started"] = "run_started"
    run: str
    """UUIDv7; the first part of every key."""
    manifest: str = "manifest.json"
    """Where suite, models, seed and versions are, relative to this file."""
    suite: str
    suite_hash: str
    resumed: bool = False
    trials: int
    """Trials that the whole run consists of."""


class TrialStarted(OfTrial):
    """One sequence, by one model, in a fresh workspace against a fresh server."""

    kind: Literal["trial_started"] = "trial_started"
    sequence: str
    model: str
    """The model as asked for on the command line."""
    simulated: bool
    """Whether the model's slips are made on purpose."""
    repeat: int
    """From 0."""
    rerun: int
    """From 0; how often this trial was interrupted before."""
    turns: int
    """Turns that the sequence has, after `--turns`."""
    drivers: int = 1
    """How many play it at the same time, in one workspace, against one server."""
    transport: Transport = Transport.STDIO


class TurnStarted(OfTrial):
    """A turn of the sequence begins."""

    kind: Literal["turn"] = "turn"
    turn: int
    """From 1."""
    prompt: str


class Usage(BaseModel):
    """Tokens of one model call, as billed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_tokens: int
    output_tokens: int


class ModelCall(OfTrial):
    """One call of the model: a record before it, and one with the same id after it."""

    kind: Literal["model_call"] = "model_call"
    id: str
    """Unique in the run: `TRIAL:TURN:m NUMBER` without the blank."""
    phase: Literal["started", "ended"]
    turn: int
    text: str = ""
    stop_reason: str | None = None
    proposals: int = 0
    """Tool calls that the model proposed."""
    usage: Usage | None = None
    """None: the model does not count tokens."""
    elapsed: float | None = None
    """Seconds."""


class Proposed(OfTrial):
    """A tool call that the model proposed, before anything is sent."""

    kind: Literal["proposal"] = "proposal"
    turn: int
    step: str
    """Names the intent: the reference call `TURN.NUMBER`, or the proposal's own number."""
    key: str
    tool: str
    arguments: dict[str, Any] | None
    raw: str | None = None
    """The arguments as the model wrote them, when they are no JSON object."""
    malformed: bool = False
    """Nothing can be sent; the driver answers the model itself."""
    slip: str | None = None
    """The slip that a simulated model made here on purpose."""


class Sent(OfTrial):
    """A request is about to be sent; written before the first byte leaves."""

    kind: Literal["send"] = "send"
    key: str
    attempt: int
    """From 1, counted by key."""
    tool: str
    arguments: dict[str, Any]
    fault: str | None = None
    """The fault that the faults file, or a simulated slip, placed on this send."""
    fault_rule: int | None = None
    """Which rule of the faults file struck it, from 1."""


class Answered(OfTrial):
    """What came of a send."""

    kind: Literal["answer"] = "answer"
    key: str
    attempt: int
    result: Literal["answered", "lost"]
    lost: LostReason | None = None
    is_error: bool | None = None
    """None when the answer was lost."""
    structured: dict[str, Any] | None = None
    """The structured result, whole: the books are balanced against it."""
    text: str | None = None
    """Text content of an answer that has no structured result."""
    error: dict[str, Any] | None = None
    """`{code, origin, applied, message, hint, retry_after, call_id}` of a failed call."""
    protocol_error: int | None = None
    """JSON-RPC error code, when the request itself was refused."""
    http_status: int | None = None
    """Of the HTTP response that turned the request away before it came to MCP; such a request is
    in no journal."""
    call_id: str | None = None
    disposition: str | None = None
    """The server's word on what it did with the request."""
    server_attempt: int | None = None
    """Which execution of the call the answer is from, from 1."""
    replayed: bool = False
    latency_ms: float
    """From before the first byte left until the answer was read, or given up."""


class Invoked(OfTrial):
    """The end of one intent: a step with all its proposals and sends."""

    kind: Literal["invocation"] = "invocation"
    turn: int
    step: str
    tool: str
    """The tool that the step is for; that of the first proposal where nobody can know."""
    first_attempt_success: bool
    """The first send of the first proposal was answered without error from the server's first
    execution, and met the postcondition if there is one."""
    recovered_by: RecoveredBy
    outcome: Literal["succeeded", "failed", "in_doubt"]
    cause: str | None = None
    """Why the first attempt did not succeed, one of `cause.Cause`; None if it did."""
    proposals: int
    sends: int
    matched: bool | None = None
    """Whether the result met the step's postcondition; None where there is none."""


class Checked(OfTrial):
    """One look at the final state."""

    kind: Literal["check"] = "check"
    check: str
    passed: bool
    detail: str


class TrialEnded(OfTrial):
    """The trial is over."""

    kind: Literal["trial_ended"] = "trial_ended"
    outcome: Ended
    broke_at_turn: int | None = None
    """The first turn that ended with a step failed or in doubt; None if there is none."""
    reason: str | None = None
    """Why it did not pass, in one line."""
    turns: int
    """Turns begun; of several drivers, by the one that came furthest."""
    invocations: int
    sends: int
    server: str | None = None
    """Name and version that the server gave itself; None if none was reached."""
    protocol: str | None = None
    """MCP version of the connection."""


class RunEnded(_Line):
    """The process that drove the run ended in order."""

    kind: Literal["run_ended"] = "run_ended"
    run: str
    interrupted: bool
    trials: int
    """Trials that have ended, over all processes of the run."""


Record = Annotated[
    RunStarted
    | TrialStarted
    | TurnStarted
    | ModelCall
    | Proposed
    | Sent
    | Answered
    | Invoked
    | Checked
    | TrialEnded
    | RunEnded,
    Field(discriminator="kind"),
]
"""Any record."""

_ADAPTER: TypeAdapter[Record] = TypeAdapter(Record)

Observer = Callable[[Record], None]
"""Sees each record after it was written."""


def read(path: Path) -> Iterator[Record]:
    """The records of a log, oldest first. A torn last line (no newline yet) is left out.

    Raises:
        RecordError: a whole line is not a record of this version.
        OSError: the file cannot be read.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _ADAPTER.validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                said = ".".join(str(part) for part in first["loc"])
                said = f"{said}: {first['msg']}" if said else first["msg"]
                raise RecordError(
                    f"{path.name}:{number}: not a record of version 1 or 2: {said}"
                ) from error
