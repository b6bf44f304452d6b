"""The order of calls to an actor that remembers; the actors themselves are tested on Ray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.actors import StaleCallError, Turn
from pipeline.chunk import Chunk


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
