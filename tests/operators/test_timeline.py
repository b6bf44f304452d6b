"""The dense timeline against explicit lists: every small configuration, no formula of its own.

The truth here is a list of dense frames that is built by inserting, and windows that are cut out
of it position by position.
"""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.timeline import Timeline, demand, segment_length, segments, shots

ARITHMETICS = list(itertools.product(range(8), range(5), range(1, 5)))
VIDEO_LENGTHS = range(10)

# Long enough that the windows in its middle know nothing of its ends: the widest reaches 16.
LONG = 40
MIDDLE = LONG // 2

DenseFrame = tuple[int, int]

timelines = st.builds(Timeline, st.integers(0, 7), st.integers(0, 4), st.integers(1, 4))


def dense_video(insert: int, num_frames: int) -> list[DenseFrame]:
    """Every dense frame as (original frame, how many frames after it)."""
    video = []
    for a in range(num_frames):
        video.append((a, 0))
        if a < num_frames - 1:
            video += [(a, b) for b in range(1, insert + 1)]
    return video


def frames_pooled(
    insert: int, radius: int, dilation: int, num_frames: int, reference: int
) -> list[DenseFrame]:
    """The dense frames that one output reads, found by walking from the reference."""
    video = dense_video(insert, num_frames)
    centre = video.index((reference, 0))
    before = video[centre::-dilation][1 : radius + 1]
    after = video[centre::dilation][1 : radius + 1]
    return [*reversed(before), video[centre], *after]


@pytest.mark.parametrize(("insert", "radius", "dilation"), ARITHMETICS)
def test_windows_and_demand_are_those_of_explicit_lists(insert: int, radius: int, dilation: int):
    timeline = Timeline(insert, radius, dilation)
    for num_frames in VIDEO_LENGTHS:
        video = dense_video(insert, num_frames)
        assert timeline.dense_length(num_frames) == len(video)
        pooled = [
            frames_pooled(insert, radius, dilation, num_frames, reference)
            for reference in range(num_frames)
        ]
        for reference in range(num_frames):
            window = timeline.window(reference, num_frames)
            assert [video[position] for position in window] == pooled[reference]

        made = [frame for frame in video if frame[1] in timeline.residues]
        assert set(itertools.chain(*pooled)) <= set(made)
        work = demand(timeline, num_frames)
        assert work.translated == len(made)
        assert work.interpolated == len([frame for frame in made if frame[1] > 0])
        assert work.translated_without_demand == len(video)
        assert work.pair_flows == len(list(itertools.pairwise(range(num_frames))))
        assert work.window_samples == sum(len(window) - 1 for window in pooled)


@pytest.mark.parametrize(("insert", "radius", "dilation"), ARITHMETICS)
def test_the_demand_is_exactly_what_windows_away_from_the_ends_read(
    insert: int, radius: int, dilation: int
):
    timeline = Timeline(insert, radius, dilation)
    read_of_middle = sorted(
        {
            b
            for reference in range(LONG)
            for a, b in frames_pooled(insert, radius, dilation, LONG, reference)
            if a == MIDDLE
        }
    )
    assert list(timeline.residues) == read_of_middle
    assert timeline.residues[0] == 0
    assert timeline.all_residues == tuple(range(insert + 1))
    assert timeline.interpolation_is_idle == (insert > 0 and read_of_middle == [0])
    assert timeline.instants() == tuple(Fraction(b, insert + 1) for b in read_of_middle if b > 0)


@pytest.mark.parametrize(("insert", "radius", "dilation"), ARITHMETICS)
def test_what_a_window_reads_of_an_interval_depends_on_its_distance_alone(
    insert: int, radius: int, dilation: int
):
    timeline = Timeline(insert, radius, dilation)
    pooled = frames_pooled(insert, radius, dilation, LONG, MIDDLE)
    for step in range(-MIDDLE, LONG - MIDDLE - 1):
        expected = tuple(b for a, b in pooled if a == MIDDLE + step)
        assert timeline.residues_read(step) == expected


def originals_needed(frames: list[DenseFrame]) -> set[int]:
    """Original frames that dense frames are made of: an inserted one also needs its successor."""
    return {a for a, _ in frames} | {a + 1 for a, b in frames if b > 0}


@pytest.mark.parametrize(("insert", "radius", "dilation"), ARITHMETICS)
def test_the_halo_is_exactly_how_far_an_output_looks(insert: int, radius: int, dilation: int):
    """Sufficient and minimal: one frame less on either side would not do."""
    needed = originals_needed(frames_pooled(insert, radius, dilation, LONG, MIDDLE))
    halo = Timeline(insert, radius, dilation).halo
    assert min(needed) == MIDDLE - halo
    assert max(needed) == MIDDLE + halo


@pytest.mark.parametrize(("insert", "radius", "dilation"), ARITHMETICS)
def test_the_ring_buffer_holds_every_interval_that_still_meets_a_later_one(
    insert: int, radius: int, dilation: int
):
    """A neighbour is aligned when both its interval and the reference's have arrived."""
    longest = 0
    for reference in range(LONG):
        for a, _ in frames_pooled(insert, radius, dilation, LONG, reference):
            arrives, waits = max(a, reference), min(a, reference)
            longest = max(longest, arrives - waits + 1)
    assert Timeline(insert, radius, dilation).ring_size == longest


@given(timelines, st.integers(0, 40), st.data())
def test_segments_with_their_halo_pool_what_the_whole_shot_pools(
    timeline: Timeline, num_frames: int, data: st.DataObject
):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(num_frames - 1, 1)), max_size=4)))
    cuts = [cut for cut in cuts if cut < num_frames]
    length = data.draw(st.integers(1, 12))
    arithmetic = (timeline.insert, timeline.radius, timeline.dilation)
    shot_list = shots(num_frames, cuts)
    for segment in segments(shot_list, length, timeline.halo):
        shot = next(shot for shot in shot_list if segment.first in shot)
        num_read = segment.halo_stop - segment.halo_first
        for output in range(segment.first, segment.stop):
            whole = [
                (a + shot.start, b)
                for a, b in frames_pooled(*arithmetic, len(shot), output - shot.start)
            ]
            alone = [
                (a + segment.halo_first, b)
                for a, b in frames_pooled(*arithmetic, num_read, output - segment.halo_first)
            ]
            assert alone == whole


@given(timelines, st.integers(1, 12))
def test_one_frame_of_halo_less_would_change_an_output(timeline: Timeline, length: int):
    num_frames = 4 * length + 2 * timeline.halo
    arithmetic = (timeline.insert, timeline.radius, timeline.dilation, num_frames)
    away_from_the_ends = [
        segment
        for segment in segments(shots(num_frames), length, timeline.halo)
        if timeline.halo <= segment.first and segment.stop <= num_frames - timeline.halo
    ]
    assert len(away_from_the_ends) >= 2
    for segment in away_from_the_ends:
        needed_by_first = originals_needed(frames_pooled(*arithmetic, segment.first))
        needed_by_last = originals_needed(frames_pooled(*arithmetic, segment.stop - 1))
        assert segment.halo_first == min(needed_by_first)
        assert segment.halo_stop == max(needed_by_last) + 1


@given(timelines, st.integers(1, 12), st.integers(0, 5))
def test_a_segment_works_on_the_intervals_that_its_outputs_pool_and_on_no_other(
    timeline: Timeline, length: int, more: int
):
    num_frames = 4 * length + 2 * timeline.halo + more
    arithmetic = (timeline.insert, timeline.radius, timeline.dilation, num_frames)
    for segment in segments(shots(num_frames), length, timeline.halo, timeline.ahead):
        pooled = [
            interval
            for output in range(segment.first, segment.stop)
            for interval, _ in frames_pooled(*arithmetic, output)
        ]
        assert max(pooled) == segment.taken_stop - 1 or segment.taken_stop == num_frames
        assert segment.stop <= segment.taken_stop <= segment.halo_stop
        # The successor of the last is read, unless nothing comes after it.
        assert segment.halo_stop <= segment.taken_stop + 1


@given(timelines, st.integers(0, 60), st.sets(st.integers(1, 59), max_size=6), st.integers(1, 20))
def test_segments_partition_the_video_and_never_cross_a_cut(
    timeline: Timeline, num_frames: int, cuts: set[int], length: int
):
    inner = sorted(cut for cut in cuts if cut < num_frames)
    shot_list = shots(num_frames, inner)
    assert [a for shot in shot_list for a in shot] == list(range(num_frames))
    assert [shot.start for shot in shot_list[1:]] == inner

    found = list(segments(shot_list, length, timeline.halo))
    emitted = [a for segment in found for a in range(segment.first, segment.stop)]
    assert emitted == list(range(num_frames))
    assert [segment.index for segment in found] == list(range(len(found)))
    for segment in found:
        assert 1 <= segment.num_frames <= length
        holders = [shot for shot in shot_list if segment.first in shot]
        assert len(holders) == 1
        read = range(segment.halo_first, segment.halo_stop)
        assert set(read) <= set(holders[0])
        assert set(range(segment.first, segment.stop)) <= set(read)
        if segment.num_frames < length:
            assert segment.stop == holders[0].stop


@given(timelines, st.integers(1, 60), st.integers(1, 20), st.integers(1, 30))
def test_what_follows_a_shot_does_not_move_its_segments(
    timeline: Timeline, num_frames: int, length: int, more: int
):
    alone = list(segments(shots(num_frames), length, timeline.halo))
    followed = list(segments(shots(num_frames + more, [num_frames]), length, timeline.halo))
    assert followed[: len(alone)] == alone


@given(st.integers(0, 9), st.integers(0, 60), st.integers(1, 9))
def test_a_segment_is_the_shortest_whose_halo_is_a_fortieth_and_no_less_than_128(
    insert: int, radius: int, dilation: int
):
    timeline = Timeline(insert, radius, dilation)
    length = segment_length(timeline.halo)
    assert isinstance(length, int)
    assert 40 * 2 * timeline.halo <= length
    assert length == 128 or 40 * 2 * timeline.halo > length - 1 >= 128


def test_the_example_of_the_design_needs_three_frames_of_ten():
    assert Timeline(insert=9, radius=1, dilation=1).residues == (0, 1, 9)


def test_a_dilation_of_one_stride_reads_original_frames_only():
    timeline = Timeline(insert=3, radius=2, dilation=4)
    assert timeline.residues == (0,)
    assert timeline.interpolation_is_idle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"insert": -1, "radius": 0}, "insert must be at least 0, got -1"),
        ({"insert": 0, "radius": -2}, "radius must be at least 0, got -2"),
        ({"insert": 0, "radius": 0, "dilation": 0}, "dilation must be at least 1, got 0"),
    ],
)
def test_impossible_arithmetic_is_refused_by_name(arguments: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        Timeline(**arguments)


@pytest.mark.parametrize("reference", [-1, 5])
def test_a_reference_outside_the_video_is_refused(reference: int):
    with pytest.raises(ValueError, match=f"reference must be 0 to 4, got {reference}"):
        Timeline(1, 1).window(reference, 5)


@pytest.mark.parametrize(
    ("num_frames", "cuts"), [(5, [0]), (5, [5]), (5, [3, 3]), (5, [3, 2]), (0, [1]), (5, [-1])]
)
def test_cuts_outside_the_video_or_out_of_order_are_refused(num_frames: int, cuts: list[int]):
    with pytest.raises(ValueError, match=f"cuts must ascend strictly between 0 and {num_frames}"):
        shots(num_frames, cuts)


def test_a_video_without_frames_has_no_shots_and_no_segments():
    assert shots(0) == []
    assert list(segments([], 64, 1)) == []


def test_a_segment_without_frames_is_refused():
    with pytest.raises(ValueError, match="segment length must be at least 1, got 0"):
        list(segments(shots(3), 0, 1))
