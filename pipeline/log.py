"""The only place that configures logging: lines on standard error, for people or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from pipeline.run_config import LogFormat

# The key of ``extra`` under which a log call passes facts that JSON lines show one by one.
FACTS = "facts"


def facts(
    *,
    video: str | None = None,
    segment: int | None = None,
    attempt: int | None = None,
    stage: str | None = None,
    **others: object,
) -> dict[str, dict[str, Any]]:
    """The ``extra`` of a log call: what JSON lines show beside the message, where it is known.

    Args:
        video: The name of the input.
        segment: Its number in the video, from 0.
        attempt: How often the segment was begun before, from 0.
        stage: The name of the stage.
        others: Any other facts; None is left out, as everywhere.
    """
    known = {"video": video, "segment": segment, "attempt": attempt, "stage": stage} | others
    return {FACTS: {name: value for name, value in known.items() if value is not None}}


def configure(log_format: LogFormat = "human") -> None:
    """Send log lines to standard error; what was configured before is replaced.

    Args:
        log_format: ``human`` or ``json``.
    """
    handler = StandardErrorHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else HumanFormatter())
    send_to(handler)


def send_to(handler: logging.Handler) -> None:
    """Send what this process logs to one handler; what was configured before is replaced.

    The project's own records are sent from level INFO, other libraries' from WARNING.

    Args:
        handler: Such as ``events.EventHandler`` in a process that has no terminal.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("operators", "pipeline"):
        logging.getLogger(name).setLevel(logging.INFO)


class StandardErrorHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment, so that lines go above a live bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            # Whoever read the lines has gone; that must not end the work.
            pass
        except Exception:  # noqa: BLE001 - a log call must never raise; logging reports it itself
            self.handleError(record)


class HumanFormatter(logging.Formatter):
    """``hypercon: warning: what happened``; plain news carries no level."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"hypercon: {level}{_one_line(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message`` and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _one_line(record),
            **getattr(record, FACTS, {}),
        }
        return json.dumps(line, ensure_ascii=False, default=str)


def _one_line(record: logging.LogRecord) -> str:
    return " ".join(record.getMessage().split())
