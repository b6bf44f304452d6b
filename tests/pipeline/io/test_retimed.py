"""Packets that are joined are decoded in order, and no frame leaves a gap behind it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.join import retimed


@st.composite
def reordered(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Ascending timestamps, a decoding order of closed groups, and how far it reorders."""
    steps = draw(st.lists(st.integers(1, 50), min_size=1, max_size=40))
    stamps = [sum(steps[:n]) - 20 for n in range(len(steps))]
    order = [0]
    while len(order) < len(stamps):
        group = list(range(len(order), min(len(stamps), len(order) + draw(st.integers(1, 6)))))
        # The last is decoded first; the others in any order after it.
        order += [group[-1], *draw(st.permutations(group[:-1]))]
    depth = max(place - shown for place, shown in enumerate(order))
    return stamps, order, depth


@given(reordered(), st.integers(1, 10), st.integers(0, 2))
def test_new_decoding_times_ascend_and_durations_leave_no_gap(
    video: tuple[list[int], list[int], int], step: int, spare: int
):
    stamps, order, depth = video

    depth = min(depth + spare, len(stamps) - 1)
    packets = list(retimed(((stamps[n], n) for n in order), depth, step))

    assert [n for *_, n in packets] == order
    assert all(pts == stamps[n] for pts, _, _, n in packets)
    decoding = [dts for _, dts, _, _ in packets]
    assert all(earlier < later for earlier, later in pairwise(decoding))
    assert all(dts <= pts for pts, dts, _, _ in packets)
    durations = {n: duration for *_, duration, n in packets}
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    assert [durations[n] for n in range(len(stamps))] == [*steps, steps[-1] if steps else step]
