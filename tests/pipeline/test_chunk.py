"""Chunks: every frame of a segment once, in order, in messages that are neither many nor large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.timeline import Segment
from pipeline.chunk import chunk_length, last_length, next_chunk, steady_length


@given(
    first=st.integers(0, 50),
    num_frames=st.integers(1, 40),
    before=st.integers(0, 6),
    after=st.integers(0, 6),
    lengths=st.lists(st.integers(1, 12), min_size=60, max_size=60),
)
def test_chunks_hold_every_frame_that_a_segment_works_on_once(
    first: int, num_frames: int, before: int, after: int, lengths: list[int]
) -> None:
    stop = first + num_frames
    segment = Segment(3, first, stop, max(0, first - before), stop + after + 1, stop + after)

    made = [next_chunk(segment, None, lengths[0])]
    while not made[-1].is_last:
        made.append(next_chunk(segment, made[-1], lengths[len(made)]))

    frames = [frame for chunk in made for frame in range(chunk.first, chunk.stop)]
    assert frames == list(range(segment.halo_first, segment.taken_stop))
    assert [chunk.sequence for chunk in made] == list(range(len(made)))
    assert [chunk.is_last for chunk in made] == [False] * (len(made) - 1) + [True]
    taken = [chunk.stop - chunk.first for chunk in made]
    assert taken[:-1] == lengths[: len(made) - 1]
    assert taken[-1] <= lengths[len(made) - 1]


def test_a_chunk_of_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk length must be at least 1, got 0"):
        next_chunk(Segment(0, 0, 5, 0, 5, 5), None, 0)


@given(bytes_per_frame=st.integers(0, 200 * 2**20))
def test_a_chunk_is_as_long_as_thirty_two_mebibytes_and_thirty_two_frames_allow(
    bytes_per_frame: int,
) -> None:
    limit = 32 * 2**20

    length = chunk_length(bytes_per_frame)

    fitting = [n for n in range(1, 33) if n * bytes_per_frame <= limit]
    assert length == max(fitting, default=1)


@pytest.mark.parametrize(
    ("most", "frame_s", "length"),
    [
        (32, 0.01, 32),
        (32, 0.1, 20),
        (5, 0.05, 5),
        (32, 0.24, 8),
        (32, 9.0, 1),
        (32, None, 1),
        (1, None, 1),
    ],
)
def test_a_chunk_takes_its_slowest_stage_two_seconds(
    most: int, frame_s: float | None, length: int
) -> None:
    assert steady_length(most, frame_s) == length


@given(num_frames=st.integers(1, 500), workers=st.integers(1, 64), length=st.integers(1, 32))
def test_where_nothing_follows_chunks_become_so_short_that_workers_end_together(
    num_frames: int, workers: int, length: int
) -> None:
    """Each takes the next chunk when it is done: a day of work by the clock, frame by frame."""
    busy_until = [0] * workers
    left = num_frames
    while left:
        taken = last_length(length, left, workers)
        assert 1 <= taken <= length
        first = busy_until.index(min(busy_until))
        busy_until[first] += min(taken, left)
        left -= min(taken, left)

    # Nobody works for longer than an even share and one frame more.
    assert max(busy_until) <= -(-num_frames // workers) + 1
