"""OpenTelemetry: each request is a span in its client's trace; nothing without being asked to.

The standard environment asks (`OTEL_EXPORTER_OTLP_ENDPOINT` and its like). Names, codes and call
ids leave this process, arguments, paths, keys and texts do not. Behind it: `spans`, for attempts.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, Status, StatusCode

from surefoot_server import log, spans
from surefoot_server.incoming import RequestContext
from surefoot_tools import meta

_log = log.get("telemetry")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
FLUSH = 2.0
"""Seconds that the last spans have to leave when the server ends."""
SILENCE = 300.0
"""Seconds after a complaint of the exporter in which its others are dropped."""
LONGEST_NAME = 128
"""Characters of a span's name: a caller may name any tool."""


def setup(environment: Mapping[str, str]) -> "Telemetry | None":
    """Start to export spans, if the environment asks for it; else None.

    What it asks for and cannot be had is said on stderr, and the server goes on without.

    Args:
        environment: Of this process; OpenTelemetry's own packages read the rest of it themselves.
    """
    if not _asked(environment):
        return None
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), "")
    if protocol not in ("", "http/protobuf"):
        _log.warning("no spans: unknown protocol", protocol=protocol, fix="use http/protobuf")
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as e:
        _log.warning("no spans: a package is missing", missing=e.name, fix="surefoot[otel]")
        return None
    _quieten()
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(
        resource=Resource.create({} if named else {"service.name": "surefoot"}),
        span_limits=SpanLimits(max_span_attribute_length=256),
        shutdown_on_exit=False,  # which would wait for a collector that does not answer
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    spans.turn_on(provider.get_tracer("surefoot"))

    def flush() -> None:
        provider.force_flush(int(FLUSH * 1000))
        provider.shutdown()

    return Telemetry(flush)


def _asked(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter == "otlp":
        return True
    if exporter not in ("", "none"):
        # Among them 'console', which would write between the messages on stdout.
        _log.warning("no spans: unknown exporter", exporter=exporter, fix="use otlp")
    return not exporter and any(environment.get(name) for name in ENDPOINTS)


@dataclass(frozen=True, slots=True)
class _Held:
    """What came of a request, out of sight of the SDK's middleware, which tells texts."""

    result: HandlerResult = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A middleware of the SDK's server, the outermost; `close` when the server ends."""

    _flush: Callable[[], None]
    _inner: OpenTelemetryMiddleware = field(default_factory=OpenTelemetryMiddleware)

    async def __call__(self, ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        """Wrap one message in a span."""

        async def held(inner: RequestContext) -> HandlerResult:
            span = trace.get_current_span()
            try:
                result = await call_next(inner)
            # It goes on as it is; here only its text is kept from the span, whatever it is.
            except Exception as e:
                _tell_error(span, inner, e)
                return cast(HandlerResult, _Held(error=e))
            _tell(span, inner, result)
            return cast(HandlerResult, _Held(result))

        token = contexts.attach(_ambient(ctx))
        try:
            got: Any = await self._inner(ctx, held)
        finally:
            contexts.detach(token)
        found = cast(_Held, got)
        if found.error is not None:
            raise found.error
        return found.result

    def close(self) -> None:
        """Send what is left, for `FLUSH` seconds at most; blocks."""
        spans.turn_on(None)
        # A thread that nobody waits for: what the exporter does cannot be cancelled.
        sending = threading.Thread(target=self._flush, name="spans", daemon=True)
        sending.start()
        sending.join(FLUSH)


def _ambient(ctx: RequestContext) -> contexts.Context:
    """What a request lies in when its `_meta` does not say: what its HTTP headers say."""
    headers: Any = getattr(ctx.request, "headers", None)
    if headers is None:
        return contexts.get_current()
    # An empty context beneath: a session's tasks began in its first request, nobody else's parent.
    carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    return propagate.extract(carrier, contexts.Context())


def _tell(span: Span, ctx: RequestContext, result: HandlerResult) -> None:
    """What a result says of its call."""
    _shorten(span, ctx)
    about: Any = result.get("_meta") if isinstance(result, dict) else None
    if not isinstance(about, dict):
        return
    told = cast(dict[str, Any], about)
    call: dict[str, Any] = told.get(meta.CALL) or {}
    error: dict[str, Any] = told.get(meta.ERROR) or {}
    attributes = {
        "surefoot.call_id": call.get("call_id"),
        "surefoot.disposition": call.get("disposition"),
        "surefoot.attempt": call.get("attempt"),
        "surefoot.applied": error.get("applied"),
        "error.type": error.get("code"),
    }
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if error:
        span.set_status(Status(StatusCode.ERROR))


def _tell_error(span: Span, ctx: RequestContext, error: Exception) -> None:
    """By its code or its kind; its text may hold what the caller sent."""
    _shorten(span, ctx)
    code = str(error.error.code) if isinstance(error, MCPError) else type(error).__qualname__
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR))


def _shorten(span: Span, ctx: RequestContext) -> None:
    name = (ctx.params or {}).get("name")
    if isinstance(name, str) and len(name) > LONGEST_NAME:
        span.update_name(f"{ctx.method} {name[:LONGEST_NAME]}")


class _Complaints(logging.Handler):
    """Passes on what OpenTelemetry's packages log, once in a while; a collector that is away would
    otherwise be reported with every batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._silent_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless something was said not long ago."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + SILENCE
            _log.warning("spans do not arrive", reason=record.getMessage()[:300])


def _quieten() -> None:
    for name in ("opentelemetry", "urllib3"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [_Complaints()] if name == "opentelemetry" else [logging.NullHandler()]
        logger.propagate = False
