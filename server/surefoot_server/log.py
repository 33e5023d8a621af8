"""Logs: JSON lines on stderr, with key, tool and attempt bound, secrets taken out.

stdout of `serve` belongs to MCP; nothing here ever writes to it.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from surefoot_server.redact import redact

Logger = structlog.typing.FilteringBoundLogger


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: redact(value, name) for name, value in event.items()}


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _redact_event,
]


def configure_ours(level: str = "warning") -> None:
    """Send surefoot's logs to stderr as JSON, from `level` on; by default they go to stdout.

    For a process that is not ours: its own logs are left alone, and so is what it has configured.
    """
    if not structlog.is_configured():
        _configure(level)


def _configure(level: str) -> None:
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(default=str)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def configure(level: str = "warning") -> None:
    """Send surefoot's and the libraries' logs to stderr as JSON, from `level` on."""
    _configure(level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def get(name: str) -> Logger:
    """A logger whose lines say where they come from."""
    logger: Logger = structlog.get_logger(source=name)
    return logger
