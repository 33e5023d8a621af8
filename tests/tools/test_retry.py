"""The retry table, whole, and what the one factory makes of it."""

import math
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot_tools.errors import DEFAULT_ORIGIN, Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.retry import (
    BASE_WAIT,
    MAX_RETRY_AFTER,
    MAX_WAIT,
    AttemptFailed,
    Budget,
    Next,
    decide,
    retrying,
)
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

errors = st.builds(
    Error,
    code=st.sampled_from(Code),
    origin=st.sampled_from(Origin),
    applied=st.sampled_from(Applied),
    message=st.just("m"),
    hint=st.none(),
    retry_after=st.none() | st.floats(0, 200),
)


def failure(
    code: Code = Code.UNAVAILABLE, applied: Applied = Applied.NO, after: float | None = None
) -> Error:
    return Error(code, DEFAULT_ORIGIN[code], applied, "m", retry_after=after)


@given(errors, st.sampled_from(Effect))
def test_what_may_have_happened_is_never_repeated(error: Error, effect: Effect) -> None:
    """Guard: the first two rows of `decide`."""
    decision = decide(error, effect)
    if error.applied is Applied.YES:
        assert decision.next is Next.FINAL
    if error.applied is Applied.UNKNOWN and effect in (Effect.VERIFIABLE, Effect.AT_MOST_ONCE):
        assert decision.next is Next.IN_DOUBT


@given(errors, st.sampled_from(Effect))
def test_another_attempt_has_a_reason(error: Error, effect: Effect) -> None:
    decision = decide(error, effect)
    if decision.again and error.code is not Code.UNAVAILABLE and error.retry_after is None:
        assert (error.applied, effect) == (Applied.UNKNOWN, Effect.TRANSACTIONAL)


def test_every_code_is_decided_for_every_effect() -> None:
    for code, applied, effect in product(Code, Applied, Effect):
        assert decide(failure(code, applied), effect).next in Next


def test_a_retry_after_is_honoured_up_to_its_bound() -> None:
    at_bound = decide(failure(after=MAX_RETRY_AFTER), Effect.SAFE)
    beyond = decide(failure(after=MAX_RETRY_AFTER + 1), Effect.SAFE)
    assert (at_bound.next, at_bound.wait) == (Next.LATER, MAX_RETRY_AFTER)
    assert beyond.next is Next.FINAL
    assert decide(failure(Code.ABORTED, after=0.0), Effect.VERIFIABLE).next is Next.NOW
    assert decide(failure(Code.ABORTED), Effect.VERIFIABLE).next is Next.FINAL


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


async def attempts(clock: Clock, error: Exception, **options: float) -> int:
    """How many attempts are made of what always fails with `error`."""
    made = 0
    retry = retrying(
        budget=Budget(clock),
        deadline=options.get("deadline", math.inf),
        random=Random(1),
        clock=clock,
        attempts=int(options.get("attempts", 4)),
    )
    retry.sleep = clock.sleep  # pyright: ignore[reportAttributeAccessIssue] - async at run time
    with pytest.raises(type(error)):
        async for attempt in retry:
            with attempt:
                made += 1
                raise error
    return made


async def test_only_what_decide_allows_is_retried() -> None:
    again = AttemptFailed(failure(), Effect.SAFE)
    assert await attempts(Clock(), again) == 4
    final = AttemptFailed(failure(Code.NOT_FOUND), Effect.SAFE)
    assert await attempts(Clock(), final) == 1
    assert await attempts(Clock(), KeyError("a bug")) == 1


async def test_waits_are_drawn_below_their_bounds_and_end_before_the_deadline() -> None:
    clock = Clock()
    await attempts(clock, AttemptFailed(failure(), Effect.SAFE), attempts=8)
    bounds = [min(MAX_WAIT, BASE_WAIT * 2**n) for n in range(len(clock.waits))]
    assert all(0 <= wait <= bound for wait, bound in zip(clock.waits, bounds, strict=True))
    short = Clock()
    waiting = AttemptFailed(failure(after=2.0), Effect.SAFE)
    assert await attempts(short, waiting, deadline=5.0, attempts=9) == 3
    assert short.now <= 5.0


async def test_an_empty_budget_ends_retries() -> None:
    """Guard: `Budget.withdraw`."""
    clock = Clock()
    budget = Budget(clock, per_second=0.0)
    spent = sum(budget.withdraw() for _ in range(100))
    assert spent == Budget.CAPACITY / 2
    budget.deposit()
    assert not budget.withdraw()
    for _ in range(10):
        budget.deposit()
    assert budget.withdraw()
