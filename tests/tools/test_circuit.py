"""The circuit of a target, over every short history, and the memory of all of them."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from surefoot_tools.circuit import (
    COOL_DOWN,
    MAX_COOL_DOWN,
    TARGETS,
    THRESHOLD,
    TRANSITIONS,
    Circuit,
    Circuits,
    Event,
    State,
)
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import Next, decide
from surefoot_tools.tool import Effect

DOWN = ToolError(Code.UNAVAILABLE, "the database does not answer")
SAYS_NOTHING: list[BaseException] = [
    ToolError(Code.INVALID_ARGUMENT, "a typo in the statement"),
    ToolError(Code.UNAVAILABLE, "the server's own journal", origin=Origin.SERVER),
    ToolError(Code.ABORTED, "a deadlock"),
    ToolError(Code.DEADLINE_EXCEEDED, "a slow statement"),
    KeyError("a bug"),
    KeyboardInterrupt(),
]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def attempt(circuit: Circuit, error: BaseException | None = None) -> None:
    """One attempt that ends at once."""
    try:
        with circuit.attempt():
            if error is not None:
                raise error
    except BaseException as e:
        if e is not error:
            raise


def refusal(circuit: Circuit) -> ToolError:
    """What an attempt is refused with; it is not tried."""
    tried = False
    with pytest.raises(ToolError) as caught, circuit.attempt():
        tried = True
    assert not tried
    return caught.value


def opened(clock: Clock) -> Circuit:
    """A circuit that has just opened."""
    circuit = Circuit(clock)
    for _ in range(THRESHOLD):
        attempt(circuit, DOWN)
    return circuit


def test_it_opens_at_the_last_of_n_failures_in_a_row() -> None:
    """Guard: `Circuit._learn`."""
    circuit = Circuit(Clock())
    for _ in range(THRESHOLD - 1):
        attempt(circuit, DOWN)
    attempt(circuit)
    for _ in range(THRESHOLD - 1):
        attempt(circuit, DOWN)
    assert not circuit.refuses()
    attempt(circuit, DOWN)
    assert circuit.refuses()


@pytest.mark.parametrize("error", SAYS_NOTHING, ids=repr)
def test_what_says_nothing_about_the_target_opens_no_circuit(error: BaseException) -> None:
    """Guard: `failed`."""
    circuit = Circuit(Clock())
    for _ in range(3 * THRESHOLD):
        attempt(circuit, error)
    assert circuit.state is State.CLOSED


def test_a_refusal_is_unavailable_not_applied_and_tells_the_time_left() -> None:
    """Guard: `Circuit.check`."""
    clock = Clock()
    circuit = opened(clock)
    clock.now += 0.25
    error = Error.of(refusal(circuit))
    assert (error.code, error.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert error.origin is Origin.ENVIRONMENT
    assert error.retry_after == COOL_DOWN - 0.25
    # Whoever comes back with the key later may run.
    assert all(decide(error, effect).next is Next.LATER for effect in Effect)


def test_a_check_refuses_as_an_attempt_does_and_is_no_probe() -> None:
    clock = Clock()
    circuit = opened(clock)
    with pytest.raises(ToolError):
        circuit.check()
    clock.now += COOL_DOWN
    circuit.check()
    assert circuit.state is State.OPEN
    attempt(circuit)
    assert circuit.state is State.CLOSED


def test_after_the_cool_down_one_attempt_is_let_through_and_closes_it() -> None:
    """Guard: `Circuit._admit`."""
    clock = Clock()
    circuit = opened(clock)
    clock.now += COOL_DOWN
    with circuit.attempt():
        assert refusal(circuit).retry_after == COOL_DOWN
    attempt(circuit)
    assert circuit.state is State.CLOSED


def test_each_failed_probe_doubles_the_cool_down_up_to_its_bound_and_success_resets_it() -> None:
    clock = Clock()
    circuit = opened(clock)
    waits: list[float | None] = []
    for _ in range(7):
        waits.append(refusal(circuit).retry_after)
        clock.now += MAX_COOL_DOWN
        attempt(circuit, DOWN)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, MAX_COOL_DOWN, MAX_COOL_DOWN]
    clock.now += MAX_COOL_DOWN
    attempt(circuit)
    for _ in range(THRESHOLD):
        attempt(circuit, DOWN)
    assert refusal(circuit).retry_after == COOL_DOWN


@pytest.mark.parametrize("error", SAYS_NOTHING, ids=repr)
def test_a_probe_that_says_nothing_is_given_back(error: BaseException) -> None:
    """A cancelled probe must not close the target for ever. Guard: `Circuit.attempt`."""
    clock = Clock()
    circuit = opened(clock)
    clock.now += COOL_DOWN
    attempt(circuit, error)
    assert circuit.state is State.OPEN
    attempt(circuit)
    assert circuit.state is State.CLOSED


def test_a_probe_that_stays_away_is_replaced_and_counts_no_more() -> None:
    """Guard: `Circuit._learn`."""
    clock = Clock()
    circuit = opened(clock)
    clock.now += COOL_DOWN
    with circuit.attempt():
        clock.now += MAX_COOL_DOWN
        with circuit.attempt():
            assert circuit.refuses()
        assert circuit.state is State.CLOSED
        for _ in range(THRESHOLD):
            attempt(circuit, DOWN)
    assert circuit.state is State.OPEN


@pytest.mark.parametrize("error", [None, DOWN])
def test_an_attempt_from_before_it_opened_changes_nothing(error: ToolError | None) -> None:
    """Guard: `Circuit._learn`."""
    clock = Clock()
    circuit = Circuit(clock)
    late = circuit.attempt()
    late.__enter__()
    for _ in range(THRESHOLD):
        attempt(circuit, DOWN)
    late.__exit__(type(error) if error is not None else None, error, None)
    assert circuit.state is State.OPEN
    assert refusal(circuit).retry_after == COOL_DOWN


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@dataclass
class Begun:
    """An attempt that was let through."""

    context: AbstractContextManager[None]
    state: State
    changes: int
    """How often the circuit had changed when it began."""


class Histories(RuleBasedStateMachine):
    """Attempts that overlap, end in any order and in any way, while time passes."""

    attempts: Bundle[Begun] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = Circuit(self.clock)
        self.changes = 0
        self.failures = 0
        """In a row, of attempts that began since it closed."""
        self.probes: list[float] = []
        """When probes were let through since it opened."""

    @rule(target=attempts)
    def begin(self) -> Begun | MultipleResults[Begun]:
        before = self.circuit.state
        refuses = self.circuit.refuses()
        context = self.circuit.attempt()
        try:
            context.__enter__()
        except ToolError as error:
            assert refuses
            assert error.retry_after is not None
            assert 0 < error.retry_after <= MAX_COOL_DOWN
            return multiple()
        assert not refuses
        if before is not State.CLOSED:
            assert self.circuit.state is State.HALF_OPEN
            self.changes += 1
            self.probes.append(self.clock.now)
        return Begun(context, self.circuit.state, self.changes)

    @rule(
        begun=consumes(attempts),
        error=st.sampled_from([None, *[DOWN] * len(SAYS_NOTHING), *SAYS_NOTHING]),
    )
    def end(self, begun: Begun, error: BaseException | None) -> None:
        before = self.circuit.state
        counts = begun.changes == self.changes
        try:
            begun.context.__exit__(None if error is None else type(error), error, None)
        except BaseException as e:
            assert e is error
        after = self.circuit.state
        if not counts:
            assert after is before
        elif begun.state is State.CLOSED:
            self.failures = 0 if error is None else self.failures + (error is DOWN)
            assert after is (State.OPEN if self.failures == THRESHOLD else State.CLOSED)
        else:
            assert after is (State.CLOSED if error is None else State.OPEN)
            assert self.circuit.refuses() == (error is DOWN)
        if before is not after:
            self.changes += 1
            self.failures = 0
            self.probes.clear()

    @precondition(lambda self: self.circuit.state is State.CLOSED)
    @rule()
    def outage(self) -> None:
        for _ in range(THRESHOLD - self.failures):
            attempt(self.circuit, DOWN)
        assert self.circuit.refuses()
        self.changes += 1
        self.failures = 0

    @rule(seconds=st.floats(0.0, 2 * MAX_COOL_DOWN))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def at_most_one_probe_at_a_time(self) -> None:
        pairs = zip(self.probes, self.probes[1:], strict=False)
        assert all(later - earlier >= MAX_COOL_DOWN for earlier, later in pairs)
        assert bool(self.probes) == (self.circuit.state is State.HALF_OPEN)

    @invariant()
    def it_never_refuses_for_longer_than_its_bound(self) -> None:
        now = self.clock.now
        self.clock.now += MAX_COOL_DOWN + 1e-6
        assert not self.circuit.refuses()
        self.clock.now = now


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@given(st.lists(st.sampled_from([None, DOWN]), max_size=60))
def test_a_healthy_probe_always_closes_it(history: list[ToolError | None]) -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for error in history:
        if circuit.refuses():
            clock.now += MAX_COOL_DOWN
        attempt(circuit, error)
    clock.now += MAX_COOL_DOWN
    attempt(circuit)
    assert circuit.state is State.CLOSED


def test_each_target_has_a_circuit_and_a_budget_of_its_own() -> None:
    circuits = Circuits(Clock())
    for _ in range(THRESHOLD):
        attempt(circuits.of("one"), DOWN)
    assert circuits.of("one").refuses()
    assert not circuits.of("two").refuses()
    while circuits.of("one").budget.withdraw():
        pass
    assert circuits.of("two").budget.withdraw()


def test_what_has_no_target_is_never_refused() -> None:
    here = Circuits(Clock()).of(None)
    for _ in range(1000):
        attempt(here, DOWN)
    assert not here.refuses()


def test_the_target_not_asked_for_longest_is_forgotten() -> None:
    """Guard: `Circuits.of`."""
    circuits = Circuits(Clock())
    first, second = circuits.of("0"), circuits.of("1")
    for number in range(2, TARGETS):
        circuits.of(str(number))
    assert circuits.of("0") is first
    circuits.of("one more")
    assert circuits.of("0") is first
    assert circuits.of("1") is not second


def test_a_circuit_without_a_threshold_stays_closed() -> None:
    circuit = Circuit(Clock(), threshold=math.inf)
    for _ in range(1000):
        attempt(circuit, DOWN)
    assert circuit.state is State.CLOSED
