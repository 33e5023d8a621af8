"""The retry table, whole, and what the one factory makes of it."""

import ast
import math
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from itertools import product
from pathlib import Path
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
    RULES,
    AttemptFailed,
    Budget,
    Next,
    decide,
    retrying,
)
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

REPOSITORY = Path(__file__).parents[2]

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
    """Guard: `RULES`, its first and its fourth row."""
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


@given(errors, st.sampled_from(Effect))
def test_what_the_device_may_have_lost_is_never_tried_again(error: Error, effect: Effect) -> None:
    """No fsync after a failed one, whatever else the error says. Guard: `RULES`, DATA_LOSS."""
    decision = decide(replace(error, code=Code.DATA_LOSS), effect)
    assert not decision.again


def test_every_code_is_decided_for_every_effect() -> None:
    for code, applied, effect in product(Code, Applied, Effect):
        assert decide(failure(code, applied), effect).next in Next


def test_the_table_in_the_docstring_is_the_one_that_decides() -> None:
    def cell(members: frozenset[Effect] | frozenset[Applied], kind: type[StrEnum]) -> str:
        names = [member.value.replace("_", " ") for member in kind if member in members]
        left = [member.value for member in kind if member not in members]
        if len(names) > 1 and len(left) < 2:
            return f"any but {left[0]}" if left else "any"
        return ", ".join(names)

    shown = [line.strip() for line in (decide.__doc__ or "").splitlines() if "| " in line][1:]
    assert shown == [
        f"| {cell(rule.applied, Applied)} | {cell(rule.effects, Effect)} | {rule.says.value}"
        f" | {rule.next.value.replace('_', ' ')} |"
        for rule in RULES
    ]


def test_a_retry_after_decides_for_any_code() -> None:
    later = decide(failure(after=2.0), Effect.SAFE)
    assert (later.next, later.wait) == (Next.LATER, 2.0)
    assert decide(failure(Code.ABORTED, after=0.0), Effect.VERIFIABLE).next is Next.NOW
    assert decide(failure(Code.ABORTED), Effect.VERIFIABLE).next is Next.FINAL
    unknown = failure(Code.UNKNOWN, Applied.UNKNOWN, after=2.0)
    assert decide(unknown, Effect.TRANSACTIONAL) == later


@pytest.mark.parametrize("after", [-1.0, -math.inf])
def test_a_retry_after_in_the_past_is_now(after: float) -> None:
    decision = decide(failure(Code.ABORTED, after=after), Effect.SAFE)
    assert (decision.next, decision.wait) == (Next.NOW, 0.0)


def test_a_retry_after_that_is_no_number_says_nothing() -> None:
    assert decide(failure(Code.ABORTED, after=math.nan), Effect.SAFE).next is Next.FINAL
    assert decide(failure(after=math.nan), Effect.SAFE).wait == 0.0


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


def no() -> bool:
    return False


async def attempts(
    clock: Clock,
    error: Exception,
    *,
    budget: Budget | None = None,
    refuses: Callable[[], bool] = no,
    **options: float,
) -> int:
    """How many attempts are made of what always fails with `error`."""
    made = 0
    retry = retrying(
        budget=budget if budget is not None else Budget(clock),
        refuses=refuses,
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


async def test_waits_are_drawn_below_their_bounds() -> None:
    clock = Clock()
    await attempts(clock, AttemptFailed(failure(), Effect.SAFE), attempts=8)
    bounds = [min(MAX_WAIT, BASE_WAIT * 2**n) for n in range(len(clock.waits))]
    assert len(bounds) == 7
    assert all(0 <= wait <= bound for wait, bound in zip(clock.waits, bounds, strict=True))
    assert len(set(clock.waits)) == 7


async def test_a_retry_after_is_waited_for_and_jitter_comes_on_top() -> None:
    clock = Clock()
    await attempts(clock, AttemptFailed(failure(after=2.0), Effect.SAFE))
    over = [wait - 2.0 for wait in clock.waits]
    assert all(0 < each <= BASE_WAIT * 2**n for n, each in enumerate(over))
    clock = Clock()
    await attempts(clock, AttemptFailed(failure(after=0.0), Effect.SAFE))
    assert clock.waits == [0.0] * 3


async def test_a_retry_after_is_sat_out_up_to_its_bound_only() -> None:
    """Beyond, the caller may come back: the decision is 'later'. Guard: `retrying.stop`."""
    for after, made in ((MAX_RETRY_AFTER, 4), (MAX_RETRY_AFTER + 1, 1), (math.inf, 1)):
        error = failure(after=after)
        assert await attempts(Clock(), AttemptFailed(error, Effect.SAFE)) == made
        assert decide(error, Effect.SAFE).again


@pytest.mark.parametrize(("deadline", "made"), [(4.0, 2), (5.0, 3)])
async def test_no_attempt_begins_after_the_deadline(deadline: float, made: int) -> None:
    """Guard: `retrying.stop`."""
    clock = Clock()
    waiting = AttemptFailed(failure(after=2.0), Effect.SAFE)
    assert await attempts(clock, waiting, deadline=deadline, attempts=9) == made
    assert clock.now < deadline


async def test_no_attempt_begins_at_the_deadline() -> None:
    """Guard: `retrying.stop`."""
    at_once = AttemptFailed(failure(after=0.0), Effect.SAFE)
    assert await attempts(Clock(), at_once, deadline=0.0) == 1


async def test_a_refusing_circuit_ends_retries_and_costs_no_budget() -> None:
    """Guard: `retrying.stop`."""
    clock = Clock()
    budget = Budget(clock, per_second=0.0)
    failed = AttemptFailed(failure(), Effect.SAFE)
    assert await attempts(clock, failed, budget=budget, refuses=lambda: True) == 1
    assert spend(budget) == Budget.CAPACITY / 2


async def test_an_empty_budget_ends_retries() -> None:
    """Guard: `retrying.stop`."""
    clock = Clock()
    budget = Budget(clock, per_second=0.0)
    spend(budget)
    assert await attempts(clock, AttemptFailed(failure(), Effect.SAFE), budget=budget) == 1


def spend(budget: Budget) -> int:
    """How many retries are left."""
    return sum(budget.withdraw() for _ in range(100))


def test_ten_calls_pay_for_one_retry() -> None:
    """Guard: `Budget.withdraw`."""
    budget = Budget(Clock(), per_second=0.0)
    assert spend(budget) == Budget.CAPACITY / 2
    for _ in range(9):
        budget.deposit()
    assert not budget.withdraw()
    budget.deposit()
    budget.deposit()
    assert spend(budget) == 1


steps = st.lists(st.sampled_from(["call", "retry"]) | st.floats(0.0, 100.0), max_size=300)


@given(steps)
def test_retries_stay_below_a_tenth_of_the_calls_and_one_a_second(
    history: list[str | float],
) -> None:
    """Guard: `Budget.withdraw`, `Budget._add`."""
    clock = Clock()
    budget = Budget(clock)
    calls = retries = 0
    for step in history:
        if step == "call":
            budget.deposit()
            calls += 1
        elif step == "retry":
            retries += budget.withdraw()
        else:
            clock.now += float(step)
        assert retries <= 0.1 * calls + clock.now + Budget.CAPACITY / 2 + 1e-6


@given(steps)
def test_an_hour_of_calm_saves_no_more_than_the_capacity(history: list[str | float]) -> None:
    """Guard: `Budget._add`."""
    clock = Clock()
    budget = Budget(clock)
    for step in history:
        if step == "call":
            budget.deposit()
    clock.now += 3600.0
    assert spend(budget) == Budget.CAPACITY


def imports(file: Path) -> set[str]:
    """The top-level packages that a module imports, also inside of functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return names


def test_only_the_factory_imports_tenacity() -> None:
    modules = [
        file
        for half in ("tools", "server", "client", "cli")
        for file in (REPOSITORY / half / f"surefoot_{half}").rglob("*.py")
    ]
    assert len(modules) > 50
    users = {file.name for file in modules if {"tenacity", "stamina"} & imports(file)}
    assert users == {"retry.py"}
