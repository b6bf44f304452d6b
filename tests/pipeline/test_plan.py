"""The plan against counting by hand on small videos, and what it says to people and programs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned import settings, stream

from operators.recurrent import LOOK_AHEAD
from operators.timeline import Timeline, segments, shots
from pipeline.config import Config
from pipeline.plan import plan, warnings

TIMELINES = st.builds(
    Timeline, insert=st.integers(0, 6), radius=st.integers(0, 3), dilation=st.integers(1, 5)
)


def windows(timeline: Timeline, num_frames: int) -> list[tuple[int, ...]]:
    return [timeline.window(reference, num_frames) for reference in range(num_frames)]


@given(timeline=TIMELINES, num_frames=st.integers(1, 12))
def test_counts_are_those_of_looking_at_every_window(timeline: Timeline, num_frames: int) -> None:
    planned = plan(settings(timeline, alignment="exact"), stream(num_frames))

    # What an interval holds is what any window of an endless video reads of it.
    endless = windows(timeline, 60)[20:40]
    read = {position % timeline.stride for window in endless for position in window}
    inserted = (num_frames - 1) * len(read - {0})
    assert planned.work.interpolated == inserted
    assert planned.work.translated == num_frames + inserted
    assert planned.work.translated_without_demand == len(
        range((num_frames - 1) * timeline.stride + 1)
    )
    neighbours = sum(len(window) - 1 for window in windows(timeline, num_frames))
    assert planned.window_flows == neighbours
    assert planned.share_read == len(read) / timeline.stride
    assert planned.window_size == max(len(window) for window in endless)


@given(timeline=TIMELINES, num_frames=st.integers(1, 12), reads_flow=st.booleans())
def test_pair_flow_is_counted_where_somebody_reads_it(
    timeline: Timeline, num_frames: int, reads_flow: bool
) -> None:
    config = settings(timeline)

    planned = plan(config, stream(num_frames), interpolator_reads_flow=reads_flow)

    inserts = timeline.residues != (0,)
    is_read = timeline.radius > 0 or (inserts and reads_flow)
    assert planned.pair_flows == (2 * (num_frames - 1) if is_read else 0)
    assert planned.window_flows == 0


@pytest.mark.parametrize(
    ("pool", "consistency", "flows_each"),
    [("mean", False, 1), ("mean", True, 1), ("valid-mean", False, 1), ("valid-median", True, 2)],
)
def test_the_consistency_check_costs_a_second_flow(
    pool: str, consistency: bool, flows_each: int
) -> None:
    timeline = Timeline(3, 1)
    config = settings(timeline, alignment="exact", pool=pool, consistency=consistency)

    # The first and the last of three frames have one neighbour, the one between them two.
    assert plan(config, stream(3)).window_flows == 4 * flows_each


def test_exact_alignment_leaves_pair_flow_to_the_interpolator() -> None:
    config = settings(Timeline(3, 1), alignment="exact")

    assert plan(config, stream(3), interpolator_reads_flow=True).pair_flows == 4
    assert plan(config, stream(3), interpolator_reads_flow=False).pair_flows == 0


def test_at_strength_zero_no_window_is_aligned() -> None:
    planned = plan(settings(Timeline(3, 2), strength=0, alignment="exact"), stream(9))

    assert planned.window_flows == 0


@given(timeline=TIMELINES, num_frames=st.integers(1, 400))
def test_segments_are_those_of_the_timeline(timeline: Timeline, num_frames: int) -> None:
    planned = plan(settings(timeline), stream(num_frames))

    cut = list(segments(shots(num_frames), planned.segment_length, timeline.halo))
    assert planned.num_segments == len(cut)


def test_frame_by_frame_is_one_translation_each() -> None:
    planned = plan(Config(method="framewise"), stream(10))

    assert (planned.work.interpolated, planned.work.translated) == (0, 10)
    assert (planned.pair_flows, planned.window_flows) == (0, 0)
    assert planned.timeline.ring_size == 1


def test_blind_consistency_corrects_all_frames_but_the_first_and_keeps_the_shot_whole() -> None:
    planned = plan(Config(method="blind-consistency"), stream(300, width=16, height=8))

    assert [stage.name for stage in planned.stages] == [
        *("decode", "interpolate", "translate", "aggregate", "consistency", "encode")
    ]
    assert planned.stages[4].work == "299 frames"
    assert (planned.num_segments, planned.segment_length) == (1, 300)
    assert ("halo, look-ahead", "the whole shot, 0 frames") in planned._timeline_rows()
    held = {term.name: term.num_bytes for term in planned.memory}
    assert held["previous output and original"] == 2 * 3 * 16 * 8 * 4
    # Hidden state and cell, 128 channels each, at a quarter of the height and the width.
    assert held["memory of the recurrent network"] == 2 * 128 * 4 * 2 * 4


def test_vinet_holds_thirteen_frames_and_their_masks() -> None:
    config = Config.model_validate({"method": "vinet", "mask": {"path": "masks"}})
    planned = plan(config, stream(300, width=16, height=8))

    assert [stage.name for stage in planned.stages] == ["decode", "inpaint", "encode"]
    assert planned.stages[1].what == "vinet-512"
    assert (planned.num_segments, planned.look_ahead) == (1, LOOK_AHEAD)
    assert planned.to_dict()["timeline"]["look_ahead"] == 6
    assert planned.num_bytes == (13 * (3 * 4 + 1) + 3 * 4) * 16 * 8
    assert planned.warnings == ()
    (warning,) = plan(Config(method="vinet"), stream(300)).warnings
    assert "--mask must be given" in warning


def test_an_unknown_length_is_counted_per_hundred_frames() -> None:
    planned = plan(Config(), stream(None))

    assert planned.num_frames is None
    assert planned.work.translated == 100 + 99 * 3
    assert any("per 100 frames" in line for line in planned.lines())
    assert not any("per 100 frames" in line for line in plan(Config(), stream(7)).lines())


@pytest.mark.parametrize(
    ("insert", "radius", "dilation", "message"),
    [
        (
            1,
            2,
            4,
            (
                "interpolation contributes nothing: every window reads original frames only "
                "(dilation 4 is a multiple of the stride 2)"
            ),
        ),
        (3, 0, 1, "interpolation contributes nothing: the windows have no neighbours (radius 0)"),
        (3, 2, 2, None),
        (0, 2, 1, None),
    ],
)
def test_useless_interpolation_is_said(
    insert: int, radius: int, dilation: int, message: str | None
) -> None:
    config = settings(Timeline(insert, radius, dilation))

    expected = () if message is None else (message,)
    assert tuple(warnings(config)) == expected
    assert plan(config, stream(5)).warnings == expected


def test_the_dictionary_holds_what_the_lines_show() -> None:
    planned = plan(settings(Timeline(9, 1)), stream(11, 854, 480))

    facts = planned.to_dict()
    text = "\n".join(planned.lines())
    assert facts["timeline"]["residues"] == [0, 1, 9]
    assert facts["counts"]["translated"] == 11 + 10 * 2
    assert facts["counts"]["translated_without_demand"] == 101
    assert facts["memory"]["bytes"] == sum(t["bytes"] for t in facts["memory"]["terms"])
    assert "hypercon: 11 frames of 854x480" in text
    assert "0, 1, 9 of each 10: 30% of the dense timeline" in text
    assert "31 frames; 101 without demand" in text
    assert f"{facts['memory']['bytes'] / 2**20:.1f} MiB" in text
    assert f"{facts['on_the_way_for_each_replica']['bytes'] / 2**20:.1f} MiB" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "looked for first: the input is decoded once more"),
        ({"shots": {"file": "cuts.txt"}}, "as cuts.txt says"),
        ({"shots": {"detect": False}}, "not looked for: the input is taken for one shot"),
        ({"method": "framewise"}, "not looked for: no frame depends on another"),
    ],
)
def test_the_plan_says_how_cuts_are_known(values: dict[str, Any], expected: str) -> None:
    planned = plan(Config.model_validate(values), stream(11))

    assert planned.to_dict()["cuts"] == expected
    assert any(line.split(maxsplit=1) == ["cuts", expected] for line in planned.lines())
