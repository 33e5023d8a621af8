"""Paired timing: all arms in every round, so that a noisy minute hits them all alike.

A round is A, A, A, B, B, B, C, C, C. An arm's time in a round is the median of its calls there; the
ratio of two arms is the median over rounds of time A / time B in the same round.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

WARM_UP = 3
"""Calls of each arm before the first round; thrown away."""
COMPILED = 100
"""As many where a call is short and an engine that compiles what it often runs is compared."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to do it."""

    name: str
    once: Callable[[], float]
    """Does it once; returns its seconds."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A way that this machine cannot do it."""

    name: str
    why: str
    """And how to change that."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one arm took, in seconds."""

    arm: str
    median: float
    """Of the medians of the rounds."""
    minimum: float
    """Of all calls."""
    ratio: float
    """Median over the rounds of the first arm's time by this arm's; 1 for the first arm."""
    spread: tuple[float, float]
    """Lower and upper quartile of what `ratio` is the median of."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation, done in several ways."""

    name: str
    timings: list[Timing]
    """The first is the one that the others' ratios are of."""
    rounds: int
    """How many there was time for; at least 1."""
    absent: list[Absent]
    """What was not compared."""


def measure(
    name: str,
    given: Sequence[Arm | Absent],
    *,
    rounds: int,
    calls: int,
    bound: float,
    warm_up: int = WARM_UP,
) -> Row:
    """Time all arms in interleaved rounds.

    A slow machine gets fewer rounds, never fewer arms in one: what is compared stays paired.

    Args:
        name: Of the row.
        given: The arms; the first is the one that the others are compared with.
        rounds: How many at most.
        calls: Of each arm in each round.
        bound: Seconds after which no other round begins.
        warm_up: Calls of each arm before the first round.
    """
    arms = [arm for arm in given if isinstance(arm, Arm)]
    for arm in arms:
        for _ in range(warm_up):
            arm.once()
    by_round: list[list[float]] = [[] for _ in arms]
    fastest = [float("inf") for _ in arms]
    gc.collect()
    gc.disable()
    ending = perf_counter() + bound
    try:
        for done in range(rounds):
            if done and perf_counter() > ending:
                break
            for index, arm in enumerate(arms):
                times = [arm.once() for _ in range(calls)]
                by_round[index].append(median(times))
                fastest[index] = min(fastest[index], *times)
    finally:
        gc.enable()
    timings = [
        _timing(arm, by_round[0], times, least)
        for arm, times, least in zip(arms, by_round, fastest, strict=True)
    ]
    return Row(name, timings, len(by_round[0]), [arm for arm in given if isinstance(arm, Absent)])


def _timing(arm: Arm, first: Sequence[float], times: Sequence[float], least: float) -> Timing:
    ratios = [ours / theirs for ours, theirs in zip(first, times, strict=True)]
    lower, middle, upper = quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Timing(arm.name, median(times), least, middle, (lower, upper))
