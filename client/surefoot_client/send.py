"""From a proposal to its answer: sends, recorded before and after, under one key.

Above `connection.py`, below `trial.py`. Whether a lost send may be repeated is decided by
`surefoot_tools.retry` alone; this module repeats the transport and nothing else: an answered error
is for the model to see, unless it says that the call still runs.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import anyio

from surefoot_client.connection import Answer, Connection, Lost, OnSend, Unreachable
from surefoot_client.faults import TrialFaults
from surefoot_client.models.model import Mishap
from surefoot_client.record import Answered, LostReason, Sent
from surefoot_client.record_log import DriverLog, RecordLog
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.retry import MAX_ATTEMPTS, AttemptFailed, Budget, retrying


@dataclass(frozen=True, slots=True)
class Call:
    """One intent on its way: the same key and arguments, however often it is sent."""

    key: str
    tool: str
    arguments: dict[str, Any]
    where: str
    """`TURN:CALL`, for the draws of faults."""
    mishap: Mishap | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of all the sends of a call."""

    first: Answer | Lost
    """Of the first send."""
    answer: Answer | None
    """The last one that came; None if none did."""
    sends: int
    in_doubt: bool
    """Whether the effect may have happened and nobody can tell."""


@dataclass(slots=True)
class Sender:
    """Sends the calls of one trial."""

    connection: Connection
    log: RecordLog | DriverLog
    trial: str
    faults: TrialFaults
    budget: Budget
    random: Random
    """Draws the waits between sends."""
    on_sent: Callable[[], None]
    """Called once for each send."""
    attempts: int = MAX_ATTEMPTS
    """Sends of a call at most; a repeated call counts as one."""
    _sends: int = field(default=0, init=False)

    async def deliver(self, call: Call) -> Delivery:
        """Send until there is an answer that ends the call, or `retry.decide` says no."""
        self._sends = 0
        self.budget.deposit()
        ended: list[Answer | Lost] = []
        try:
            async for attempt in retrying(
                budget=self.budget,
                deadline=math.inf,
                random=self.random,
                attempts=self.attempts,
            ):
                with attempt:
                    ended += await self._round(call)
                    self._raise_if_unsettled(call.tool, ended[-1])
        except AttemptFailed:
            # the last word is what `ended` holds
            pass
        return self._delivery(call, ended)

    def _raise_if_unsettled(self, tool: str, ended: Answer | Lost) -> None:
        """Tell the retry that the call has not ended.

        Raises:
            AttemptFailed: it was lost, it still runs, or HTTP turned it away.
        """
        effect = self.connection.effect_of(tool)
        if isinstance(ended, Lost):
            sent = ended.reason is not LostReason.UNREACHABLE
            applied = Applied.UNKNOWN if sent else Applied.NO
            message = f"no answer: {ended.reason.value}"
            error = Error(Code.UNAVAILABLE, Origin.TRANSPORT, applied, message)
            raise AttemptFailed(error, effect)
        if ended.http_status is not None:
            raise AttemptFailed(_turned_away(ended), effect)
        if still_runs(ended):
            wait = (ended.error or {}).get("retry_after")
            message = "the call still runs"
            raise AttemptFailed(
                Error(Code.UNAVAILABLE, Origin.SERVER, Applied.UNKNOWN, message, retry_after=wait),
                effect,
            )

    async def _round(self, call: Call) -> list[Answer | Lost]:
        """One send; two at the same time for a repeated call. The one that counts comes last."""
        if not self.connection.alive:
            # if it cannot, the send below is recorded, and lost as unreachable
            with suppress(Unreachable):
                await self.connection.respawn()
        first = self._sends + 1
        if call.mishap is not Mishap.REPEATED_CALL or first > 1:
            self._sends += 1
            return [await self._send(call, first)]
        self._sends += 2
        ended: dict[int, Answer | Lost] = {}

        async def one(number: int) -> None:
            ended[number] = await self._send(call, number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, first)
            tasks.start_soon(one, first + 1)
        both = [ended[first], ended[first + 1]]
        if isinstance(both[1], Lost) and isinstance(both[0], Answer):
            return [both[0], both[0]]
        return both

    async def _send(self, call: Call, attempt: int) -> Answer | Lost:
        number, fault = self.faults.strike(call.tool, call.where, attempt) or (None, None)
        on_send = fault.on_send if fault is not None else OnSend()
        labels = [fault.label] if fault is not None else []
        if call.mishap is Mishap.LOST_ANSWER and attempt == 1:
            on_send = replace(on_send, drop=True)
            labels.append(f"slip:{call.mishap.value}")
        self.log.write(
            Sent(
                trial=self.trial,
                key=call.key,
                attempt=attempt,
                tool=call.tool,
                arguments=call.arguments,
                fault="+".join(labels) or None,
                fault_rule=number,
            )
        )
        self.on_sent()
        began = anyio.current_time()
        try:
            ended = await self.connection.call(
                call.tool, call.arguments, call.key, attempt, on_send
            )
        except anyio.get_cancelled_exc_class():
            waited = anyio.current_time() - began
            self._record(call, attempt, Lost(LostReason.INTERRUPTED, waited))
            raise
        self._record(call, attempt, ended)
        return ended

    def _record(self, call: Call, attempt: int, ended: Answer | Lost) -> None:
        latency_ms = round(ended.latency * 1000, 3)
        if isinstance(ended, Lost):
            record = Answered(
                trial=self.trial,
                key=call.key,
                attempt=attempt,
                result="lost",
                lost=ended.reason,
                latency_ms=latency_ms,
            )
        else:
            record = Answered(
                trial=self.trial,
                key=call.key,
                attempt=attempt,
                result="answered",
                is_error=ended.is_error,
                structured=ended.structured,
                text=None if ended.structured is not None else ended.text,
                error=ended.error,
                protocol_error=ended.protocol_error,
                http_status=ended.http_status,
                call_id=ended.call_id,
                disposition=ended.disposition,
                server_attempt=ended.server_attempt,
                replayed=ended.replayed,
                latency_ms=latency_ms,
            )
        self.log.write(record)

    def _delivery(self, call: Call, ended: list[Answer | Lost]) -> Delivery:
        last = ended[-1]
        answer = last if isinstance(last, Answer) else None
        return Delivery(ended[0], answer, self._sends, self._in_doubt(call.tool, ended))

    def _in_doubt(self, tool: str, ended: list[Answer | Lost]) -> bool:
        if self.connection.reads_only(tool):
            return False
        last = ended[-1]
        if isinstance(last, Answer):
            return last.is_error and (last.error or {}).get("applied") == Applied.UNKNOWN
        return any(not _never_sent(each) for each in ended)


def _turned_away(answer: Answer) -> Error:
    """What HTTP said, for `retry.decide`."""
    said = answer.error or {}
    return Error(
        Code(said["code"]),
        Origin(said["origin"]),
        Applied(said["applied"]),
        answer.text,
        retry_after=said["retry_after"],
    )


def _never_sent(ended: Answer | Lost) -> bool:
    return isinstance(ended, Lost) and ended.reason is LostReason.UNREACHABLE


def still_runs(answer: Answer) -> bool:
    """Whether the server says that the call goes on, and when to ask again under its key."""
    error = answer.error or {}
    return (
        error.get("code") == Code.UNAVAILABLE
        and error.get("applied") == Applied.UNKNOWN
        and isinstance(error.get("retry_after"), int | float)
    )
