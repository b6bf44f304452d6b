"""The plan against counting by hand on small videos, and its memory bound against real tensors."""

import gc
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from streams import frames_of, moving, moving_masks

from operators.aggregate import Aggregate
from operators.align import Alignment, ExactAlignment, SharedAlignment
from operators.frame import Frame, Interval, PairFlow
from operators.recurrent import LOOK_AHEAD
from operators.timeline import Timeline, segments, shots
from pipeline.build import build_stages
from pipeline.chunk import chunk_length
from pipeline.config import Config
from pipeline.io.endpoint import StreamInfo
from pipeline.plan import Plan, plan, warnings
from pipeline.running import as_taken
from pipeline.wire import Wire, pack, unpack


def stream(num_frames: int | None, width: int = 64, height: int = 48) -> StreamInfo:
    return StreamInfo(width, height, Fraction(1, 24), Fraction(24), num_frames)


def settings(timeline: Timeline, **aggregate: Any) -> Config:
    return Config.model_validate(
        {
            "interpolate": {"insert": timeline.insert},
            "aggregate": {"radius": timeline.radius, "dilation": timeline.dilation, **aggregate},
        }
    )


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


def test_the_memory_of_a_known_case_is_the_product_by_hand() -> None:
    planned = plan(settings(Timeline(3, 4)), stream(30, width=10, height=7))

    # γ = 4 and s = 4: halo 1, ring of 2, all 4 images read.
    ring, k, pixels = 2, 4, 70
    by_hand = {
        "ring of translated intervals": ring * k * 3 * pixels * 4,
        "open sums": ring * 4 * pixels * 4,
        "interval under way, both sides of a stage": 2 * k * 6 * pixels * 4,
        "pair flows and routes": ring * 10 * pixels * 4,
    }
    assert {term.name: term.num_bytes for term in planned.memory} == by_hand
    assert planned.num_bytes == sum(by_hand.values())


def test_formulas_and_numbers_say_the_same() -> None:
    config = settings(
        Timeline(3, 2), alignment="exact", flow_on="source", pool="valid-median", consistency=True
    )

    planned = plan(config, stream(30))
    for term in (*planned.memory, *planned.travelling):
        product = 1
        for number in term.numbers.split(" × "):
            product *= int(number)
        assert product == term.num_bytes
        assert term.formula.count("×") == term.numbers.count("×")


def held_bytes(root: object) -> int:
    """Bytes of every tensor that can be reached from an object, shared storage once."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        else:
            waiting.extend(gc.get_referents(thing))
    return sum(storages.values())


class MovingPattern:
    """A flow estimator that costs nothing."""

    def setup(self, device: torch.device) -> None: ...

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.full_like(first[:, :2], 0.5)

    def pair(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self(first, second), self(second, first)


def alignment_of(config: Config) -> Alignment:
    check = config.aggregate.pool.startswith("valid-") and config.aggregate.consistency
    if config.aggregate.alignment == "shared":
        return SharedAlignment(with_validity=check, check_consistency=check)
    on_sources = config.aggregate.flow_on == "source"
    return ExactAlignment(MovingPattern(), on_sources=on_sources, check_consistency=check)


def most_held(config: Config, num_frames: int, height: int, width: int) -> int:
    """The most bytes that a real aggregator holds between two intervals."""
    timeline = config.timeline
    aggregator = Aggregate(
        timeline, alignment=alignment_of(config), pool=config.aggregate.pool, composite=False
    )
    most = 0
    for index in range(num_frames):
        images = torch.rand(len(timeline.residues), 3, height, width)
        flow = PairFlow(torch.rand(2, height, width), torch.rand(2, height, width))
        interval = Interval(
            index=index,
            stride=timeline.stride,
            residues=timeline.residues,
            images=images,
            num_present=len(timeline.residues) if index + 1 < num_frames else 1,
            pts=index,
            time_base=Fraction(1, 24),
            flow=flow if config.aggregate.alignment == "shared" else None,
            sources=images.clone() if config.aggregate.flow_on == "source" else None,
        )
        del images, flow
        list(aggregator.process(interval))
        del interval
        most = max(most, held_bytes(aggregator))
    return most


@pytest.mark.parametrize(
    "aggregate",
    [
        {},
        {"pool": "median"},
        {"pool": "valid-median", "consistency": True},
        {"pool": "valid-mean", "consistency": True},
        {"alignment": "exact"},
        {"alignment": "exact", "flow_on": "source", "pool": "median"},
    ],
    ids=str,
)
@pytest.mark.parametrize("timeline", [Timeline(3, 2), Timeline(1, 3, 2), Timeline(0, 2)], ids=str)
def test_a_real_aggregator_holds_no_more_than_is_planned(
    timeline: Timeline, aggregate: dict[str, Any]
) -> None:
    height, width = 24, 32
    config = settings(timeline, **aggregate)

    short = most_held(config, 12, height, width)
    long = most_held(config, 24, height, width)

    planned = plan(config, stream(24, width, height))
    bound = bound_of_aggregator(planned)
    assert short == long
    assert long <= bound <= 3 * long


def bound_of_aggregator(planned: Plan) -> int:
    """The part of the bound that lasts from one interval to the next."""
    passing = {"interval under way, both sides of a stage", "flows of one interval"}
    return sum(term.num_bytes for term in planned.memory if term.name not in passing)


def most_packed(config: Config, frames: list[Frame]) -> int:
    """The most bytes that an item is on the way from any stage to the next."""
    wire = Wire(flow=config.interpolate.flow_format)
    items: list[Any] = list(frames)
    most = 0
    for stage in build_stages(config):
        stage.operator.setup(torch.device("cpu"))
        taken = as_taken(stage.operator, stage.name, items)
        made = [one for item in taken for one in stage.operator.process(item)]
        made += stage.operator.flush()
        packed = [pack(one, wire) for one in made]
        most = max(most, *(one.num_bytes for one in packed))
        items = [unpack(one, torch.device("cpu")) for one in packed]
    return most


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"interpolate": {"insert": 0}, "aggregate": {"radius": 0}},
        {"interpolate": {"flow_format": "float32"}},
        {"aggregate": {"alignment": "exact", "flow_on": "source"}},
        {"aggregate": {"alignment": "exact", "flow_on": "translated"}},
        {"mask": {"path": "masks"}, "translate": {"model": "inpaint:telea"}},
        {
            "mask": {"path": "masks"},
            "translate": {"model": "inpaint:telea"},
            "aggregate": {"alignment": "exact", "flow_on": "source"},
        },
    ],
    ids=str,
)
def test_a_chunk_on_its_way_is_no_larger_than_is_planned(values: dict[str, Any]) -> None:
    height, width, num_frames = 24, 32, 4
    model = {"translate": {"model": "identity"}}
    config = Config.model_validate(
        model
        | values
        | {"interpolate": {"insert": 2, "flow": "dis"} | values.get("interpolate", {})}
    )
    is_masked = "mask" in values
    masks = moving_masks(num_frames, height, width) if is_masked else None
    frames = frames_of(moving(num_frames, height, width), masks)

    most = most_packed(config, frames)

    planned = plan(config, stream(num_frames, width, height))
    chunk = chunk_length(most)
    # Two chunks for a replica, of each what a stage takes and what it makes, and a frame beyond.
    bound = sum(term.num_bytes for term in planned.travelling)
    assert 2 * 2 * (chunk + 1) * most <= bound <= 1.5 * 2 * 2 * (chunk + 1) * most


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
