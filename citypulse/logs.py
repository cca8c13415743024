"""Structured logs: an event is a dotted noun with fields; JSON for machines, colours for a terminal."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def set_up_logs(*, as_json: bool | None = None, level: int = logging.INFO) -> None:
    """Send logs to stderr: JSON when asked or when stderr is not a terminal, plain otherwise. NO_COLOR is honoured."""
    is_json = not sys.stderr.isatty() if as_json is None else as_json
    renderer: structlog.typing.Processor
    if is_json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ)
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if is_json:
        # Without local variables: they may hold tokens, and what people wrote.
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(plain))
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
