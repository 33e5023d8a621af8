"""One intent from its first proposal to its end: who recovered it, or why it failed.

Above `send.py` (what came of one proposal), below `trial.py` (which proposals there are).
"""

from dataclasses import dataclass
from typing import Literal

from surefoot_client.cause import Cause, of_first
from surefoot_client.check import matches
from surefoot_client.connection import Answer, Lost
from surefoot_client.record import Invoked, RecoveredBy
from surefoot_client.send import Delivery
from surefoot_client.suite import ReferenceCall


@dataclass(slots=True)
class Intent:
    """A step, with all that was tried for it so far."""

    step: str
    tool: str
    reference: ReferenceCall | None
    """Where its postcondition is; None for a proposal that nobody has a reference for."""
    proposals: int = 0
    sends: int = 0
    first_success: bool = False
    cause: Cause | None = None
    outcome: Literal["succeeded", "failed", "in_doubt"] = "failed"
    recovered_by: RecoveredBy = RecoveredBy.NONE
    matched: bool | None = None
    said: str = ""
    """The last error, for the reason of a trial."""

    def malformed(self) -> None:
        """A proposal that could not be sent."""
        self.proposals += 1
        self.cause = self.cause or Cause.MODEL_MALFORMED_CALL
        self.said = "the arguments are no JSON object"

    def delivered(self, delivery: Delivery, *, offered: bool) -> None:
        """A proposal that was sent, and what came of it."""
        self.proposals += 1
        self.sends += delivery.sends
        answer = delivery.answer
        success = answer is not None and not answer.is_error
        self.matched = self._matches(answer) if success else None
        if not success or self.matched is False:
            self._missed(delivery, offered=offered, success=success)
            return
        self.outcome = "succeeded"
        if self.proposals == 1 and _at_once(delivery.first):
            self.first_success = True
            return
        self.cause = self.cause or of_first(delivery.first, offered=offered)
        self.recovered_by = self._recovery(delivery)

    def _missed(self, delivery: Delivery, *, offered: bool, success: bool) -> None:
        first = delivery.first
        postcondition = success and _at_once(first)
        cause = Cause.POSTCONDITION if postcondition else of_first(first, offered=offered)
        self.cause = self.cause or cause
        self.outcome = "in_doubt" if delivery.in_doubt else "failed"
        self.said = "the postcondition is not met" if success else said_of(delivery)

    def _recovery(self, delivery: Delivery) -> RecoveredBy:
        if self.proposals > 1:
            return RecoveredBy.MODEL
        lost = isinstance(delivery.first, Lost) or delivery.first.is_error
        return RecoveredBy.DRIVER if lost else RecoveredBy.SERVER

    def record(self, trial: str, turn: int) -> Invoked:
        """How it ended, as far as it has come."""
        return Invoked(
            trial=trial,
            turn=turn,
            step=self.step,
            tool=self.tool,
            first_attempt_success=self.first_success,
            recovered_by=self.recovered_by,
            outcome=self.outcome,
            cause=self.cause,
            proposals=self.proposals,
            sends=self.sends,
            matched=self.matched,
        )

    def _matches(self, answer: Answer | None) -> bool | None:
        if self.reference is None or self.reference.expect is None or answer is None:
            return None
        return matches(self.reference.expect, answer.structured or {})


def _at_once(first: Answer | Lost) -> bool:
    """Whether the first send was a success of the server's first execution."""
    if isinstance(first, Lost) or first.is_error:
        return False
    return first.server_attempt is None or first.server_attempt <= 1


def said_of(delivery: Delivery) -> str:
    """Why a delivery was no success, in one line."""
    if delivery.answer is None:
        lost = delivery.first
        why = lost.reason.value if isinstance(lost, Lost) else "lost"
        return f"no answer after {delivery.sends} sends ({why})"
    error = delivery.answer.error or {}
    lines = str(error.get("message") or delivery.answer.text).splitlines() or [""]
    return f"{error.get('code', 'error')}: {lines[0][:200]}"
