"""A target that keeps failing is left alone for a while: one circuit and one budget a target.

The pattern is the circuit breaker of M. Nygard, 'Release It!' (2nd edition, 2018, chapter 5). A
closed circuit lets every attempt through. `THRESHOLD` failures of the target itself in a row open
it: attempts are refused at once, with the time left. After a cool-down one attempt, the probe, is
let through while the others are refused (half-open): its success closes the circuit, its failure
opens it again for twice as long.

Whatever says nothing about the target (a cancellation, the model's fault, a bug) counts neither way
and gives the probe back. What ends after the state has changed under it counts no more: each state
has a number, and each attempt bears the one it began under.

Before it: `retry.py`. After it: the executor, which makes each attempt inside `Circuit.attempt`.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.retry import Budget

THRESHOLD = 5
"""Failures in a row that open a circuit."""
COOL_DOWN = 1.0
"""Seconds that a circuit stays open first; each probe that fails doubles them."""
MAX_COOL_DOWN = 30.0
"""Seconds that it stays open at most; also how long a probe may take before another may go."""
TARGETS = 256
"""Targets that are remembered; the one that was not asked for longest is forgotten."""


class State(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What moves a circuit."""

    TRIPPED = "tripped"
    """The target failed too often: `THRESHOLD` times in a row, or once as a probe."""
    PROBED = "probed"
    """The cool-down is over, or the last probe stays away too long, and an attempt came."""
    SUCCEEDED = "succeeded"
    ABANDONED = "abandoned"
    """An attempt ended and said nothing about the target."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.TRIPPED): State.OPEN,
    (State.HALF_OPEN, Event.ABANDONED): State.OPEN,
}
"""Every change of state; an event without a row changes none."""


def failed(error: ToolError) -> bool:
    """Whether the target itself failed: it or its provider could not be reached or used."""
    ours = (Origin.ENVIRONMENT, Origin.PROVIDER)
    return error.code is Code.UNAVAILABLE and error.origin in ours


class Circuit:
    """The circuit of one target, and its retry budget. For one event loop's thread.

    Args:
        clock: Monotonic seconds.
        threshold: Failures in a row that open it; `math.inf` for a circuit that never opens.
    """

    def __init__(self, clock: Callable[[], float], *, threshold: float = THRESHOLD) -> None:
        self.state = State.CLOSED
        self.budget = Budget(clock)
        self._clock = clock
        self._threshold = threshold
        self._number = 0
        self._failures = 0
        self._cool_down = COOL_DOWN
        self._refuses_until = -math.inf

    @contextmanager
    def attempt(self) -> Generator[None, None, None]:
        """One attempt on the target; how the block ends is what the circuit learns.

        Raises:
            ToolError: UNAVAILABLE with `retry_after`, before the block: nothing was tried.
        """
        number = self._admit()
        event = Event.ABANDONED
        try:
            yield
            event = Event.SUCCEEDED
        except ToolError as error:
            if failed(error):
                event = Event.TRIPPED
            raise
        finally:
            self._learn(event, number)

    def check(self) -> None:
        """Before work that only leads up to an attempt, and must not be the probe.

        Raises:
            ToolError: UNAVAILABLE with `retry_after`: an attempt would be refused.
        """
        if self.refuses():
            # A probe is over soon, as a rule: its whole patience would be too long a wait.
            left = max(0.0, min(self._refuses_until - self._clock(), self._cool_down))
            raise ToolError(
                Code.UNAVAILABLE,
                f"not tried: what this call goes to keeps failing; it is tried again in {left:.1f}"
                " s at the earliest",
                origin=Origin.ENVIRONMENT,
                hint="Nothing was done. Send it again then, or go on with something else.",
                retry_after=left,
            )

    def refuses(self) -> bool:
        """Whether an attempt would be refused now."""
        return self.state is not State.CLOSED and self._clock() < self._refuses_until

    def _admit(self) -> int:
        """Let an attempt through: the number of the state that it begins under."""
        self.check()
        if self.state is not State.CLOSED:
            self._move(Event.PROBED)
        return self._number

    def _learn(self, event: Event, number: int) -> None:
        if number != self._number:
            return
        if self.state is State.CLOSED:
            if event is Event.SUCCEEDED:
                self._failures = 0
            if event is Event.TRIPPED:
                self._failures += 1
                if self._failures < self._threshold:
                    return
        elif event is Event.TRIPPED:
            self._cool_down = min(MAX_COOL_DOWN, 2 * self._cool_down)
        self._move(event)

    def _move(self, event: Event) -> None:
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            return
        self.state = state
        self._number += 1
        if state is State.CLOSED:
            self._failures, self._cool_down = 0, COOL_DOWN
        seconds = {
            Event.TRIPPED: self._cool_down,
            Event.PROBED: MAX_COOL_DOWN,
        }
        self._refuses_until = self._clock() + seconds.get(event, 0.0)


class Circuits:
    """The circuits of all targets, by name.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._here = Circuit(clock, threshold=math.inf)
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()

    def of(self, target: str | None) -> Circuit:
        """The circuit of a target (`Tool.target`); None is this machine, which never opens one."""
        if target is None:
            return self._here
        circuit = self._circuits.pop(target, None) or Circuit(self._clock)
        self._circuits[target] = circuit
        if len(self._circuits) > TARGETS:
            self._circuits.popitem(last=False)
        return circuit
