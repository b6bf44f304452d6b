"""Log records that travel: each is logged once, with its time, its level and its facts."""

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import log
from pipeline.events import Event, EventHandler, EventLog, EventReader, RecentEvents, replay

pytestmark = pytest.mark.usefixtures("logging_as_it_was")


def event(number: int) -> Event:
    return Event(logging.INFO, str(number))


def numbers(events: list[Event]) -> list[int]:
    return [int(event.message) for event in events]


@given(
    capacity=st.integers(1, 6),
    # How many events happen before each poll.
    batches=st.lists(st.integers(0, 9), max_size=20),
)
def test_each_event_is_read_once_and_what_is_lost_is_counted(
    capacity: int, batches: list[int]
) -> None:
    events, reader = EventLog(capacity), EventReader()
    num_added = 0
    for size in batches:
        for _ in range(size):
            events.add(event(num_added))
            num_added += 1

        new, lost = reader.read(events.recent())

        # Of a batch, the last ``capacity`` are left.
        assert numbers(new) == list(range(num_added - min(size, capacity), num_added))
        assert lost == max(size - capacity, 0)


def test_polls_between_which_nothing_happens_repeat_nothing() -> None:
    events, reader = EventLog(), EventReader()
    events.add(event(0))

    reads = [reader.read(events.recent()) for _ in range(3)]

    assert [(numbers(new), lost) for new, lost in reads] == [([0], 0), ([], 0), ([], 0)]


def test_a_poll_that_arrives_late_gives_nothing_again() -> None:
    events, reader = EventLog(), EventReader()
    events.add(event(0))
    late = events.recent()
    events.add(event(1))

    assert numbers(reader.read(events.recent())[0]) == [0, 1]
    assert reader.read(late) == ([], 0)
    events.add(event(2))
    assert numbers(reader.read(events.recent())[0]) == [2]


def test_a_log_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        EventLog(0)


def test_threads_may_add_while_another_polls() -> None:
    events, reader = EventLog(capacity=100_000), EventReader()
    read: list[Event] = []
    with ThreadPoolExecutor(4) as pool:
        added = [pool.submit(lambda: [events.add(event(n)) for n in range(5000)]) for _ in range(4)]
        while not all(future.done() for future in added):
            read += reader.read(events.recent())[0]
    read += reader.read(events.recent())[0]

    assert sorted(numbers(read)) == sorted(4 * list(range(5000)))


def test_what_a_process_logs_travels_and_is_logged_as_if_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = EventLog()
    log.send_to(EventHandler(events))
    facts = log.facts(video="in.mp4", segment=3, attempt=1, stage="translate")
    logging.getLogger("pipeline.x").warning("segment %d\nagain", 3, extra=facts)
    logging.getLogger("pipeline.x").info("news")
    logging.getLogger("other").info("chatter")
    there: RecentEvents = pickle.loads(pickle.dumps(events.recent()))  # noqa: S301 - its own bytes
    assert capsys.readouterr().err == ""

    log.configure("json")
    new, _ = EventReader().read(there)
    for one in new:
        replay(one)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(line.pop("time") for line in lines)
    assert lines == [
        {
            "level": "warning",
            "logger": "pipeline.x",
            "message": "segment 3 again",
            "video": "in.mp4",
            "segment": 3,
            "attempt": 1,
            "stage": "translate",
        },
        {"level": "info", "logger": "pipeline.x", "message": "news"},
    ]


def test_an_event_keeps_the_time_at_which_it_happened(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")

    replay(Event(logging.ERROR, "lost", {}, time=86_400.25, logger="pipeline.x"))

    assert json.loads(capsys.readouterr().err)["time"] == "1970-01-02T00:00:00.250+00:00"


def test_an_event_below_the_level_of_its_logger_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("human")

    replay(Event(logging.DEBUG, "detail", logger="pipeline.x"))
    replay(Event(logging.INFO, "chatter", logger="other"))

    assert capsys.readouterr().err == ""


def test_a_message_that_cannot_be_made_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    events = EventLog()
    log.send_to(EventHandler(events))

    logging.getLogger("pipeline.x").warning("%d frames", "many")

    assert events.recent() == RecentEvents()
    assert "TypeError" in capsys.readouterr().err
