"""The only place that configures logging: lines on standard error, for people or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime

from pipeline.config import LogFormat

# The key of ``extra`` under which a log call passes facts that JSON lines show one by one.
FACTS = "facts"


def configure(log_format: LogFormat = "human") -> None:
    """Send log lines to standard error; what was configured before is replaced.

    The project's own lines are shown from level INFO, other libraries' from WARNING.

    Args:
        log_format: ``human`` or ``json``.
    """
    handler = StandardErrorHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else HumanFormatter())
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
