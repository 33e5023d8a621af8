"""The totals in Prometheus' words, through the package `prometheus-client` (extra `metrics`).

No label holds what a caller writes: tools are those on offer, codes and states are closed sets.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from surefoot_server.observe.tally import BOUNDS, Tally

Exposition = Callable[[str], tuple[bytes, str]]
"""The page for what a scraper accepts (its header `Accept`), and its content type."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number of this process that is asked for when it is looked at."""

    name: str
    """As `surefoot_requests_in_flight`."""
    about: str
    """What it is, for people."""
    read: Callable[[], float]


class MetricsMissing(Exception):
    """Metrics need the package prometheus-client: install surefoot[metrics]."""


def exposition(tally: Tally, gauges: Sequence[Gauge], version: str) -> Exposition:
    """What makes the page from the totals as they are.

    Args:
        tally: The totals; whoever asks lets them follow first.
        gauges: Further numbers.
        version: Of surefoot.

    Raises:
        MetricsMissing: the extra is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client import core as families
        from prometheus_client.exposition import choose_encoder
    except ImportError as e:
        raise MetricsMissing(MetricsMissing.__doc__) from e
    began = time.time()

    class Totals:
        """A collector: nothing is counted here."""

        def collect(self) -> Iterable[Any]:
            """All families."""
            for name, about, labels, counts in _counted(tally):
                counter = families.CounterMetricFamily(name, about, labels=labels)
                for values, n in sorted(counts.items()):
                    counter.add_metric(values, n, created=began)
                yield counter
            histogram = families.HistogramMetricFamily(
                "surefoot_attempt_duration_seconds", "How long attempts took.", labels=["tool"]
            )
            for tool, took in sorted(tally.durations.items()):
                sums = accumulate(took.buckets)
                bounds = [*map(str, BOUNDS), "+Inf"]
                histogram.add_metric([tool], list(zip(bounds, sums, strict=True)), took.total)
            yield histogram
            running = ("surefoot_calls_running", "Calls without an end.", lambda: tally.running)
            for gauge in (Gauge(*running), *gauges):
                yield families.GaugeMetricFamily(gauge.name, gauge.about, value=gauge.read())
            yield families.InfoMetricFamily("surefoot_build", "What runs.", {"version": version})

    registry = CollectorRegistry()
    registry.register(Totals())

    def page(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    return page


def _counted(tally: Tally) -> list[tuple[str, str, list[str], Mapping[tuple[str, ...], int]]]:
    """The counters: name without `_total`, what it is, its labels, its counts."""
    receipts = Counter({(name,): n for name, n in tally.receipts.items()})
    jobs = Counter({(name,): n for name, n in tally.jobs.items()})
    return [
        ("surefoot_receipts", "Requests received.", ["disposition"], receipts),
        ("surefoot_calls", "Calls that ended.", ["tool", "outcome"], tally.calls),
        ("surefoot_attempts", "Attempts that ended.", ["tool", "state"], tally.attempts),
        ("surefoot_jobs", "Jobs whose end was recorded here.", ["state"], jobs),
        (
            "surefoot_errors",
            "Calls that failed and requests that were refused.",
            ["code", "origin", "tool"],
            tally.errors,
        ),
    ]
