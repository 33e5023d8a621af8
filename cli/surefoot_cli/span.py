"""Spans of time on the command line: `30m`, `24h`, `7d`."""

import math

import click

from surefoot_server.failure_report import seconds

LONGEST = 30 * 86_400
"""Seconds; what is to last longer lasts for ever."""


class Span(click.ParamType[float]):
    """A number and s, m, h or d; its value is seconds."""

    name = "SPAN"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds of a span."""
        if isinstance(value, float):
            return value
        span = seconds(str(value))
        if span is None:
            self.fail(f"{value!r} is not a number and s, m, h or d, such as 24h", param, ctx)
        return float(span)


SPAN = Span()


class Forever(click.ParamType[float]):
    """Seconds, or `forever`, which is infinity."""

    name = "SECONDS|forever"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds; at most thirty days of them."""
        if value == "forever":
            return math.inf
        try:
            span = float(str(value))
        except ValueError:
            span = math.nan
        if value == math.inf or 0 <= span <= LONGEST:
            return span
        return self.fail(f"{value!r} is neither 0 to {LONGEST} seconds nor forever", param, ctx)


FOREVER = Forever()
