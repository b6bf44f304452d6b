"""What a plan says of memory, against products by hand, real aggregators and real messages."""

import gc
from fractions import Fraction
from typing import Any

import pytest
import torch
from planned import settings, stream
from streams import ListSink, ListSource, frames_of, moving, moving_masks

from operators.aggregate import Aggregate
from operators.align import Alignment, ExactAlignment, SharedAlignment
from operators.frame import Frame, Interval, PairFlow
from operators.timeline import Timeline
from pipeline import chunk
from pipeline.build import build_stages
from pipeline.config import Config
from pipeline.plan import Plan, plan
from pipeline.running import as_taken
from pipeline.sizing import bytes_per_frame
from pipeline.stage import Pipeline
from pipeline.wire import Wire, pack, unpack


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
def test_a_chunk_on_its_way_is_no_larger_than_is_planned(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small frames, of which a chunk holds a few and not as many as it may.
    monkeypatch.setattr(chunk, "TARGET_BYTES", 50_000)
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

    info = stream(num_frames, width, height)
    planned = plan(config, info)
    wire = Wire(flow=config.interpolate.flow_format)
    pipeline = Pipeline(ListSource(frames), build_stages(config), ListSink(), wire)
    length = chunk.chunk_length(bytes_per_frame(pipeline, info))
    assert 1 < length < chunk.MAX_FRAMES
    # Two chunks for a replica, of each what a stage takes and what it makes, and a frame beyond.
    bound = sum(term.num_bytes for term in planned.travelling)
    assert 2 * 2 * (length + 1) * most <= bound <= 1.5 * 2 * 2 * (length + 1) * most
