"""Log records of a process far away, kept until whoever polls it has logged them as its own.

There, ``log.send_to(EventHandler(events))`` fills an ``EventLog``, and answers to polls carry its
``recent()``. Here, an ``EventReader`` gives each event once, and ``replay`` logs it.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pipeline.log import FACTS

CAPACITY = 256


@dataclass(frozen=True, slots=True)
class Event:
    """One log record, without anything that cannot travel.

    Attributes:
        level: Of ``logging``.
        message: In one line, its arguments filled in.
        facts: What JSON lines show one by one; plain values.
        time: Seconds since the epoch, by the clock of the machine where it happened.
        logger: The name of the logger.
    """

    level: int
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0
    logger: str = "pipeline"


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """What an event log held at one moment.

    Attributes:
        first: The sequence number of the first of them; it is the number of events before it.
        events: In order, without gaps.
    """

    first: int = 0
    events: tuple[Event, ...] = ()


class EventLog:
    """The last events of a process; the oldest make room. May be used by several threads.

    Args:
        capacity: Most events that are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            msg = f"capacity must be at least 1, got {capacity}"
            raise ValueError(msg)
        self._events: deque[Event] = deque(maxlen=capacity)
        self._num_added = 0
        self._lock = Lock()

    def add(self, event: Event) -> None:
        """Keep an event, in the place of the oldest if there is no other."""
        with self._lock:
            self._events.append(event)
            self._num_added += 1

    def recent(self) -> RecentEvents:
        """What is kept now."""
        with self._lock:
            events = tuple(self._events)
            return RecentEvents(self._num_added - len(events), events)


class EventHandler(logging.Handler):
    """Keeps what a process logs.

    Args:
        events: Where.
    """

    def __init__(self, events: EventLog) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        try:
            message = " ".join(record.getMessage().split())
            facts = dict(getattr(record, FACTS, {}))
            self._events.add(Event(record.levelno, message, facts, record.created, record.name))
        except Exception:  # noqa: BLE001 - a log call must never raise; logging reports it itself
            self.handleError(record)


class EventReader:
    """Gives each event of one event log once, though polls repeat them."""

    def __init__(self) -> None:
        self._next = 0

    def read(self, recent: RecentEvents) -> tuple[list[Event], int]:
        """What is new.

        Args:
            recent: Of the same event log as before, as it was polled; an older poll that arrives
                late gives nothing.

        Returns:
            The events that were not read before, in order, and how many before them are lost
            because too many happened between two polls.
        """
        lost = max(recent.first - self._next, 0)
        new = recent.events[max(self._next - recent.first, 0) :]
        self._next = max(self._next, recent.first + len(recent.events))
        return list(new), lost


def replay(event: Event) -> None:
    """Log an event in this process, as of the moment when it happened."""
    logger = logging.getLogger(event.logger)
    if logger.isEnabledFor(event.level):
        extra = {FACTS: event.facts}
        record = logger.makeRecord(
            event.logger, event.level, "", 0, event.message, (), None, extra=extra
        )
        record.created = event.time
        logger.handle(record)
