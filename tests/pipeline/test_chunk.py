"""Chunks: every frame of a segment once, in order, in messages that are neither many nor large."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.timeline import Segment
from pipeline.chunk import chunk_length, chunks, steady_length


@given(
    first=st.integers(0, 50),
    num_frames=st.integers(1, 40),
    before=st.integers(0, 6),
    after=st.integers(0, 6),
    length=st.integers(1, 12),
)
def test_chunks_hold_every_frame_of_segment_and_halo_once(
    first: int, num_frames: int, before: int, after: int, length: int
) -> None:
    stop = first + num_frames
    segment = Segment(3, first, stop, max(0, first - before), stop + after)

    made = list(chunks(segment, length))

    frames = [frame for chunk in made for frame in range(chunk.first, chunk.stop)]
    assert frames == list(range(segment.halo_first, segment.halo_stop))
    assert [chunk.sequence for chunk in made] == list(range(len(made)))
    assert [chunk.is_last for chunk in made] == [False] * (len(made) - 1) + [True]
    assert all(chunk.stop - chunk.first == length for chunk in made[:-1])


def test_a_chunk_of_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk length must be at least 1, got 0"):
        list(chunks(Segment(0, 0, 5, 0, 5), 0))


@given(bytes_per_frame=st.integers(0, 200 * 2**20))
def test_a_chunk_is_as_long_as_thirty_two_mebibytes_and_thirty_two_frames_allow(
    bytes_per_frame: int,
) -> None:
    limit = 32 * 2**20

    length = chunk_length(bytes_per_frame)

    fitting = [n for n in range(1, 33) if n * bytes_per_frame <= limit]
    assert length == max(fitting, default=1)


@pytest.mark.parametrize(
    ("most", "frame_s", "length", "at_end"),
    [
        (32, 0.01, 32, 32),
        (32, 0.05, 32, 10),
        (5, 0.05, 5, 5),
        (32, 0.24, 8, 2),
        (32, 9.0, 1, 1),
        (32, None, 4, 4),
        (1, None, 1, 1),
    ],
)
def test_a_chunk_takes_its_slowest_stage_two_seconds_and_less_where_nothing_follows(
    most: int, frame_s: float | None, length: int, at_end: int
) -> None:
    assert steady_length(most, frame_s, is_end=False) == length
    assert steady_length(most, frame_s, is_end=True) == at_end
