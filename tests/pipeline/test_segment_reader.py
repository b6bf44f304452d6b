"""Reading segment by segment gives what slicing the whole video gives, and decodes no more."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streams import ListSource, frames_of

from operators.frame import Frame
from operators.timeline import Segment, segments, shots
from pipeline.errors import InputError
from pipeline.segment_reader import SegmentReader


class CountedSource(ListSource):
    """Counts how often each frame is decoded, and notes where reading begins."""

    def __init__(self, num_frames: int) -> None:
        super().__init__(frames_of([torch.full((3, 1, 1), n / 255) for n in range(num_frames)]))
        self.decoded: Counter[int] = Counter()
        self.begins: list[int] = []

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        self.begins.append(first)
        for frame in super().frames(first, stop):
            self.decoded[frame.index] += 1
            yield frame


def seen(frames: Iterator[Frame]) -> list[tuple[int, int, bool]]:
    """Number, level and mark of each frame."""
    return [(f.index, round(float(f.image[0, 0, 0]) * 255), f.is_halo) for f in frames]


def sliced(segment: Segment) -> list[tuple[int, int, bool]]:
    """The same by plain counting."""
    numbers = range(segment.halo_first, segment.halo_stop)
    return [(n, n, n not in range(segment.first, segment.stop)) for n in numbers]


@given(num_frames=st.integers(1, 30), length=st.integers(1, 9), halo=st.integers(0, 7))
def test_all_segments_are_slices_and_each_frame_is_decoded_once(
    num_frames: int, length: int, halo: int
) -> None:
    source = CountedSource(num_frames)
    reader = SegmentReader(source, halo)

    for segment in segments(shots(num_frames), length, halo):
        assert seen(reader.read(segment)) == sliced(segment)

    assert source.decoded == Counter(range(num_frames))
    assert source.begins == [0]


@given(
    num_frames=st.integers(1, 30),
    length=st.integers(1, 9),
    halo=st.integers(0, 7),
    is_skipped=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_segments_that_are_skipped_change_nothing_in_the_others(
    num_frames: int, length: int, halo: int, is_skipped: list[bool]
) -> None:
    source = CountedSource(num_frames)
    reader = SegmentReader(source, halo)
    read = [s for s in segments(shots(num_frames), length, halo) if not is_skipped[s.index]]

    for segment in read:
        assert seen(reader.read(segment)) == sliced(segment)

    wanted = {n for segment in read for n in range(segment.halo_first, segment.halo_stop)}
    assert set(source.decoded) == wanted


@given(
    ranges=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 8)), max_size=8),
    halo=st.integers(0, 3),
)
def test_ranges_in_any_order_as_after_a_retry_are_slices_too(
    ranges: list[tuple[int, int]], halo: int
) -> None:
    reader = SegmentReader(CountedSource(12), halo)

    for first, length in ranges:
        stop = min(first + length, 12)
        segment = Segment(0, first, stop, first, stop, stop)
        assert seen(reader.read(segment)) == sliced(segment)


def test_a_segment_that_was_given_up_half_way_is_read_again_from_its_start() -> None:
    reader = SegmentReader(CountedSource(12), halo=1)
    first, second = list(segments(shots(12), 6, 1))
    list(reader.read(first))
    abandoned = reader.read(second)
    for _ in range(4):
        next(abandoned)

    assert seen(reader.read(second)) == sliced(second)


def test_a_source_that_ends_before_its_promise_is_named_with_the_frame() -> None:
    reader = SegmentReader(CountedSource(7), halo=1)
    first, second = list(segments(shots(10), 5, 1))
    list(reader.read(first))

    with pytest.raises(
        InputError, match=r"^list must have frame 7, which its container promises, got its end$"
    ):
        list(reader.read(second))
