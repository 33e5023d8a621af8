"""Whether an attempt may be repeated, and the one place that makes tenacity retries.

tenacity's defaults retry every exception, bugs included, for ever and without a wait; so nobody
else builds one. An attempt may be repeated only if its effect is safe or idempotent, or the
database knows what was committed, or it provably did not happen; and if its error says that another
try makes sense. After it: `circuit.py`, which stops asking a target that keeps failing.

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
from tenacity import AsyncRetrying, RetryCallState

from surefoot_tools.errors import Applied, Code
from surefoot_tools.outcome import Error
from surefoot_tools.tool import Effect

BASE_WAIT = 0.1
"""Seconds; the first wait is drawn from [0, this)."""
MAX_WAIT = 5.0
"""Seconds; no drawn wait is longer."""
MAX_RETRY_AFTER = 60.0
"""Seconds; a longer `retry_after` is not sat out: the error goes back to the caller, who may come
again with the same key."""
MAX_ATTEMPTS = 4
"""Attempts in all, the first one included."""


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
    """Seconds that the error asked for; jitter comes on top."""

    @property
    def again(self) -> bool:
        """Whether another attempt is allowed, by us now or by whoever sends the key later."""
        return self.next in (Next.NOW, Next.LATER)


class Says(StrEnum):
    """What a rule looks for in an error."""

    ANYTHING = "anything"
    DATA_LOSS = "DATA_LOSS"
    NO_WAIT = "`retry_after` 0"
    WAIT = "`retry_after`"
    UNAVAILABLE = "UNAVAILABLE"


_SAYS: dict[Says, Callable[[Error], bool]] = {
    Says.ANYTHING: lambda error: True,
    Says.DATA_LOSS: lambda error: error.code is Code.DATA_LOSS,
    Says.NO_WAIT: lambda error: error.retry_after is not None and error.retry_after <= 0,
    Says.WAIT: lambda error: error.retry_after is not None and error.retry_after > 0,
    Says.UNAVAILABLE: lambda error: error.code is Code.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what it asks of an error and an effect, and what it decides."""

    applied: frozenset[Applied]
    effects: frozenset[Effect]
    says: Says
    next: Next


_ANY_APPLIED = frozenset(Applied)
_ANY_EFFECT = frozenset(Effect)
_YES = frozenset({Applied.YES})
_UNKNOWN = frozenset({Applied.UNKNOWN})

RULES: tuple[Rule, ...] = (
    Rule(_YES, _ANY_EFFECT, Says.ANYTHING, Next.FINAL),
    Rule(_UNKNOWN, _ANY_EFFECT - {Effect.SAFE}, Says.DATA_LOSS, Next.IN_DOUBT),
    Rule(_ANY_APPLIED, _ANY_EFFECT, Says.DATA_LOSS, Next.FINAL),
    Rule(
        _UNKNOWN,
        frozenset({Effect.VERIFIABLE, Effect.AT_MOST_ONCE}),
        Says.ANYTHING,
        Next.IN_DOUBT,
    ),
    Rule(_ANY_APPLIED, _ANY_EFFECT, Says.NO_WAIT, Next.NOW),
    Rule(_ANY_APPLIED, _ANY_EFFECT, Says.WAIT, Next.LATER),
    Rule(_ANY_APPLIED, _ANY_EFFECT, Says.UNAVAILABLE, Next.LATER),
    Rule(_UNKNOWN, frozenset({Effect.TRANSACTIONAL}), Says.ANYTHING, Next.LATER),
    Rule(_ANY_APPLIED, _ANY_EFFECT, Says.ANYTHING, Next.FINAL),
)
"""The retry table, first match wins; `decide` shows it. The last row matches whatever is left."""


def decide(error: Error, effect: Effect) -> Decision:
    """The retry table. First match wins, top down.

    | effect happened | effect | error says | decision |
    |---|---|---|---|
    | yes | any | anything | final |
    | unknown | any but safe | DATA_LOSS | in doubt |
    | any | any | DATA_LOSS | final |
    | unknown | verifiable, at most once | anything | in doubt |
    | any | any | `retry_after` 0 | now |
    | any | any | `retry_after` | later |
    | any | any | UNAVAILABLE | later |
    | unknown | transactional | anything | later |
    | any | any | anything | final |

    DATA_LOSS stands for a failed fsync, too, and the next fsync may well succeed and prove nothing
    (P. Rebello et al., 'Can Applications Recover from fsync Failures?', USENIX ATC 2020), so that
    no other word of the error counts. A transaction whose COMMIT nobody saw end may run again: its
    inbox row finds what was committed. `retry_after` plays the part of google.rpc.RetryInfo
    (AIP-193): whoever raised the error knows that the same arguments may work then; one that is not
    a number says nothing. UNAVAILABLE is the one code that clients retry without it (gRPC status
    codes).
    """
    for rule in RULES:
        if error.applied in rule.applied and effect in rule.effects and _SAYS[rule.says](error):
            asked = rule.next is Next.LATER and _SAYS[Says.WAIT](error)
            return Decision(rule.next, error.retry_after or 0.0 if asked else 0.0)
    raise AssertionError("the last rule matches everything")


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
    refuses: Callable[[], bool] = lambda: False,
) -> AsyncRetrying:
    """A tenacity retry that asks `decide`: only `AttemptFailed` is retried, the last re-raised.

    The nth wait is `retry_after` where the error has one, and on top of it a draw from
    [0, min(5, 0.1 * 2^(n-1))) seconds, so that those who were told the same do not come back
    together (full jitter: M. Brooker, 'Exponential Backoff And Jitter', AWS Architecture Blog,
    2015). 'Now' waits for nothing.

    Args:
        budget: Shared by everything that talks to one target.
        deadline: Seconds on `clock`; no attempt begins at or after it. `math.inf` for none.
        random: Draws the jitter.
        clock: Monotonic seconds.
        attempts: Attempts in all.
        refuses: Whether the target's circuit would refuse another attempt (`Circuit.refuses`);
            then the last error goes back at once.
    """

    def wait(state: RetryCallState) -> float:
        decision = _failure(state).decision
        if decision.next is Next.NOW:
            return 0.0
        drawn = random.uniform(0.0, min(MAX_WAIT, BASE_WAIT * 2 ** (state.attempt_number - 1)))
        return decision.wait + drawn

    def stop(state: RetryCallState) -> bool:
        if state.attempt_number >= attempts or _failure(state).decision.wait > MAX_RETRY_AFTER:
            return True
        if clock() + state.upcoming_sleep >= deadline or refuses():
            return True
        return not budget.withdraw()  # last: what does not happen costs nothing

    def again(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        return isinstance(error, AttemptFailed) and error.decision.again

    return AsyncRetrying(wait=wait, stop=stop, retry=again, reraise=True, sleep=anyio.sleep)


def _failure(state: RetryCallState) -> AttemptFailed:
    """What tenacity asks about; it waits and stops only after what `again` has let through."""
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, AttemptFailed)  # noqa: S101
    return error
