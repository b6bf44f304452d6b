"""The order of calls to an actor that remembers; what one tells when its models are loaded."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.frame import Frame
from pipeline import actors
from pipeline.actors import MOST_MODULES_S, StageActor, StaleCallError, Started, Turn
from pipeline.chunk import Chunk
from pipeline.stage import Stage
from pipeline.wire import Wire


def chunk(sequence: int) -> Chunk:
    return Chunk(sequence, 4 * sequence, 4 * sequence + 4, is_last=False)


def accepts(turn: Turn, attempt: str, sequence: int) -> bool:
    try:
        turn.take(attempt, chunk(sequence))
    except StaleCallError:
        return False
    turn.done()
    return True


@given(calls=st.lists(st.tuples(st.sampled_from(["first", "second"]), st.integers(0, 4))))
def test_only_the_next_chunk_of_the_attempt_is_taken(calls: list[tuple[str, int]]) -> None:
    turn = Turn()
    turn.begin("second")

    taken = [sequence for attempt, sequence in calls if accepts(turn, attempt, sequence)]

    # Whatever came, what was taken is a run from zero, and only of the attempt that was begun.
    assert taken == list(range(len(taken)))
    own = [sequence for attempt, sequence in calls if attempt == "second"]
    expected = 0
    for sequence in own:
        expected += sequence == expected
    assert len(taken) == expected


def test_a_new_attempt_begins_at_its_first_chunk_and_ends_the_one_before() -> None:
    turn = Turn()
    turn.begin("first")
    assert accepts(turn, "first", 0)
    assert accepts(turn, "first", 1)

    turn.begin("second")

    assert not accepts(turn, "first", 2)
    assert not accepts(turn, "second", 2)
    assert accepts(turn, "second", 0)


def test_after_a_call_that_failed_none_is_taken() -> None:
    """Else a film could lack what the failed call was to write."""
    turn = Turn()
    turn.begin("first")

    turn.take("first", chunk(0))  # fails, and so is never done

    assert not accepts(turn, "first", 1)


def test_before_any_attempt_nothing_is_taken() -> None:
    """A process that was started again has forgotten the attempt."""
    assert not accepts(Turn(), "first", 0)


def test_a_refusal_says_what_was_expected() -> None:
    turn = Turn()
    turn.begin("segment 2, attempt 1")

    with pytest.raises(
        StaleCallError,
        match="call must be chunk 0 of attempt 'segment 2, attempt 1', "
        "got chunk 3 of 'segment 2, attempt 0'",
    ):
        turn.take("segment 2, attempt 0", chunk(3))


class Loading:
    """An operator that takes three seconds of a clock to load."""

    takes, is_stateful, reach = Frame, False, 0

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def setup(self, device: torch.device) -> None:
        self._clock[0] += 3.0

    def process(self, frame: Frame) -> list[Frame]:
        return [frame]

    def flush(self) -> list[Frame]:
        return []

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize(("used_s", "setup_s"), [(2.5, 2.5 + 3.0), (9_000.0, MOST_MODULES_S + 3.0)])
def test_a_process_tells_what_it_took_to_load_its_modules_and_its_models(
    monkeypatch: pytest.MonkeyPatch, used_s: float, setup_s: float
) -> None:
    """One that did other work before it was wanted has used hours for that."""
    clock = [100.0]
    process = SimpleNamespace(process_time=lambda: used_s, perf_counter=lambda: clock[0])
    monkeypatch.setattr(actors, "time", process)
    # All of these are for a process of its own.
    for name in ("wait_for_turn", "torch.set_num_threads", "cv2.setNumThreads"):
        monkeypatch.setattr(f"pipeline.actors.{name}", lambda *_: None)
    monkeypatch.setattr(actors, "here", lambda: "a")

    actor = StageActor(Stage(Loading(clock), "load"), Wire(), "cpu", threads=1)

    assert actor.ready() == Started("a", setup_s)
