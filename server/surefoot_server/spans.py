"""Spans of attempts, for OpenTelemetry; they cost nothing until `telemetry` turns them on.

An attempt's span lies in that of the request that began the run: a task has the context of the one
that started it. What a dead server left open, and nobody asked for, begins a trace of its own.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry.trace import Status, StatusCode, Tracer

from surefoot_tools.outcome import Error

Tell = Callable[[Error | None], None]
"""Says how an attempt ended: with an error, or without one."""


def _nothing(_error: Error | None) -> None:
    """There is no span to tell."""


_OFF: AbstractContextManager[Tell] = nullcontext(_nothing)


class _Spans:
    """The tracer of this process, if there is one."""

    tracer: Tracer | None = None


def turn_on(tracer: Tracer | None) -> None:
    """Begin a span for each attempt from now on; None: not any more."""
    _Spans.tracer = tracer


def attempt(tool: str, call_id: str, number: int) -> AbstractContextManager[Tell]:
    """A block in which an attempt runs.

    Args:
        tool: Its name.
        call_id: The call that it is of.
        number: From 1.
    """
    tracer = _Spans.tracer
    return _OFF if tracer is None else _span(tracer, tool, call_id, number)


@contextmanager
def _span(tracer: Tracer, tool: str, call_id: str, number: int) -> Generator[Tell]:
    attributes = {
        "gen_ai.tool.name": tool,
        "surefoot.call_id": call_id,
        "surefoot.attempt": number,
    }
    # Not the exception: its text may hold arguments and paths.
    with tracer.start_as_current_span(
        "attempt", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:

        def tell(error: Error | None) -> None:
            if error is not None:
                span.set_attributes(
                    {"error.type": error.code.value, "surefoot.applied": error.applied.value}
                )
                span.set_status(Status(StatusCode.ERROR))

        yield tell
