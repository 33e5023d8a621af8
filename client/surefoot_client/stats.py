"""The statistics of a report: the interval around one rate, and percentiles."""

import math
from collections.abc import Sequence
from typing import NamedTuple

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: two-sided 95 %."""


class Interval(NamedTuple):
    """A confidence interval of a proportion; both ends lie in [0, 1]."""

    low: float
    high: float


def wilson(successes: int, trials: int, z: float = Z_95) -> Interval | None:
    """The Wilson score interval of a binomial proportion; None for no trials.

    With p = successes / trials and n = trials:

        (p + z^2/2n +- z * sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)

    E. B. Wilson, 'Probable Inference, the Law of Succession, and Statistical Inference', JASA 22
    (1927), equation 4. Unlike p +- z * sqrt(p(1-p)/n) it holds near 0 and 1 and for small n. It
    takes trials as independent: calls of one sequence are not quite, so that over calls it is a
    little too narrow.

    Args:
        successes: From 0 to `trials`.
        trials: How many were tried.
        z: Quantile of the standard normal distribution.

    Raises:
        ValueError: the counts are impossible.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return None
    share, square = successes / trials, z * z
    middle = share + square / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    # the ends are exact where the proportion is 0 or 1; rounding must not carry them past it
    low = 0.0 if successes == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if successes == trials else min(1.0, (middle + half) / scale)
    return Interval(low, high)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: the smallest value that `percent` % do not exceed.

    Args:
        ordered: Ascending.
        percent: Over 0, up to 100.

    Returns:
        One of the values; None if there are none.
    """
    if not ordered:
        return None
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
