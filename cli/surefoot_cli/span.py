"""Spans of time on the command line: `30m`, `24h`, `7d`."""

import click

from surefoot_server.failure_report import seconds


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
