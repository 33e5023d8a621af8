"""Whether an attempt may be repeated, and the one place that makes tenacity retries.

tenacity's defaults retry every exception, bugs included, for ever and without a wait; so nobody
else builds one. An attempt may be repeated only if its effect is safe or idempotent, or it provably
did not happen, and its error says that another try makes sense.

Example:
    ```python
    async for attempt in retrying(budget=budget, deadline=deadline):
        with attempt:
            raise AttemptFailed(error, Effect.SAFE)
    ```
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import anyio
from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt

from surefoot_tools.errors import Applied, Code
from surefoot_tools.outcome import Error
from surefoot_tools.tool import Effect

BASE_WAIT = 0.1
"""Seconds; the first wait is drawn from [0, this)."""
MAX_WAIT = 5.0
"""Seconds; no drawn wait is longer."""
MAX_RETRY_AFTER = 60.0
"""Seconds; a longer `retry_after` is final: whoever asked had better do something else."""
MAX_ATTEMPTS = 4
"""Attempts in all, the first one included."""

REPEATABLE_EFFECTS = frozenset({Effect.SAFE, Effect.IDEMPOTENT})


class Next(StrEnum):
    """What to do after an attempt failed."""

    NOW = "now"
    LATER = "later"
    FINAL = "final"
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, and after how many seconds at the earliest."""

    next: Next
    wait: float = 0.0

    @property
    def again(self) -> bool:
        """Whether another attempt is allowed."""
        return self.next in (Next.NOW, Next.LATER)


def decide(error: Error, effect: Effect) -> Decision:
    """The retry table. First match wins, top down.

    | effect happened | effect | error says | decision |
    |---|---|---|---|
    | yes | any | | final |
    | unknown | verifiable, at most once | | in doubt |
    | unknown | transactional | | now: the inbox row finds what was committed |
    | no, or repeatable | any | `retry_after` | now at 0 s, later up to 60 s, final beyond |
    | no, or repeatable | any | UNAVAILABLE | later, drawn |
    | no, or repeatable | any | any other | final |

    `retry_after` plays the part of google.rpc.RetryInfo (AIP-193): whoever raised the error knows
    that the same arguments may work then. UNAVAILABLE is the one code that clients retry without
    it (gRPC status codes).
    """
    if error.applied is Applied.YES:
        return Decision(Next.FINAL)
    if error.applied is Applied.UNKNOWN and effect not in REPEATABLE_EFFECTS:
        transactional = effect is Effect.TRANSACTIONAL
        return Decision(Next.NOW if transactional else Next.IN_DOUBT)
    if error.retry_after is not None:
        if error.retry_after > MAX_RETRY_AFTER:
            return Decision(Next.FINAL)
        return Decision(Next.LATER if error.retry_after > 0 else Next.NOW, error.retry_after)
    if error.code is Code.UNAVAILABLE:
        return Decision(Next.LATER)
    return Decision(Next.FINAL)


class AttemptFailed(Exception):
    """One attempt failed with `error`, carrying out something of `effect`."""

    def __init__(self, error: Error, effect: Effect) -> None:
        super().__init__(error.message)
        self.error = error
        self.decision = decide(error, effect)


class Budget:
    """Bounds retries to a share of the calls, so that an outage is not answered with a storm.

    A token bucket: each call puts in `ratio` tokens, each second `per_second`, a retry takes one.
    Finagle's and linkerd's retry budgets are the model.

    Args:
        ratio: Tokens that a call puts in.
        per_second: Tokens a second, so that a quiet server can retry too.
        clock: Monotonic seconds; `time.monotonic` or anyio's clock.
    """

    CAPACITY = 20.0

    def __init__(
        self, clock: Callable[[], float], *, ratio: float = 0.1, per_second: float = 1.0
    ) -> None:
        self._clock = clock
        self._ratio = ratio
        self._per_second = per_second
        self._tokens = self.CAPACITY / 2
        self._at = clock()

    def _refill(self) -> None:
        now = self._clock()
        self._add((now - self._at) * self._per_second)
        self._at = now

    def _add(self, tokens: float) -> None:
        self._tokens = min(self.CAPACITY, self._tokens + tokens)

    def deposit(self) -> None:
        """A call was made."""
        self._add(self._ratio)

    def withdraw(self) -> bool:
        """Whether one more retry is affordable; takes it if so."""
        self._refill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def retrying(
    *,
    budget: Budget,
    deadline: float,
    random: Random,
    clock: Callable[[], float] = anyio.current_time,
    attempts: int = MAX_ATTEMPTS,
) -> AsyncRetrying:
    """A tenacity retry that asks `decide`: only `AttemptFailed` is retried, the last re-raised.

    Waits are `retry_after` where the error has one, else drawn from [0, min(5, 0.1 * 2^n)) seconds
    (full jitter: M. Brooker, 'Exponential Backoff And Jitter', AWS Architecture Blog, 2015).

    Args:
        budget: Shared by everything that talks to one target.
        deadline: Seconds on `clock`; no wait may end after it. `math.inf` for none.
        random: Draws the jitter.
        clock: Monotonic seconds.
        attempts: Attempts in all.
    """

    def wait(state: RetryCallState) -> float:
        failure = _failure(state)
        if failure is not None and failure.error.retry_after is not None:
            return failure.decision.wait
        return random.uniform(0.0, min(MAX_WAIT, BASE_WAIT * 2 ** (state.attempt_number - 1)))

    def stop(state: RetryCallState) -> bool:
        if stop_after_attempt(attempts)(state):
            return True
        return clock() + state.upcoming_sleep > deadline or not budget.withdraw()

    def again(state: RetryCallState) -> bool:
        failure = _failure(state)
        return failure is not None and failure.decision.again

    return AsyncRetrying(wait=wait, stop=stop, retry=again, reraise=True, sleep=anyio.sleep)


def _failure(state: RetryCallState) -> AttemptFailed | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, AttemptFailed) else None
