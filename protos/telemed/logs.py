"""Logs of every process: one JSON line a thing on standard error, in UTC, those of libraries among them.

A line break or a control character that a stranger sent is escaped by JSON, so that nobody can write a line of
their own into the log.
"""

import logging
import sys
from typing import Any

import structlog


def log_to_stderr() -> None:
    """Set up structlog, and the standard library's logging from warnings on; standard output is left alone."""
    structlog.configure(
        processors=[*_shared(), structlog.processors.format_exc_info, _json()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _json(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[lines])


def _shared() -> list[Any]:
    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


def _json() -> Any:
    return structlog.processors.JSONRenderer(ensure_ascii=False)
