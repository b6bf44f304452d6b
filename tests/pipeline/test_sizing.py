"""What is on its way at once follows from the pictures, the workers and the object store."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from streams import ArraySink, ListSource, LongSource, frames_of, moving, moving_masks
from torch import Tensor

from operators.base import TranslatorTraits
from operators.estimators import DisFlow
from operators.frame import FramePair
from operators.interpolate import Interpolate
from operators.interpolators import LinearInterpolator
from operators.timeline import Timeline
from operators.translate import KeepSources, Translate
from pipeline.io.endpoint import StreamInfo
from pipeline.ray_settings import RaySettings
from pipeline.recipes import framewise, hypercon
from pipeline.sizing import bytes_per_frame, limits_of, num_lanes
from pipeline.stage import Pipeline, Stage
from pipeline.video_job import Limits
from pipeline.wire import Wire, pack

MIB = 2**20


def pipeline(*, is_dense: bool = True) -> Pipeline:
    stages = hypercon("identity", insert=3, radius=2) if is_dense else framewise("identity")
    return Pipeline(LongSource(10, 16, 16), stages, ArraySink(Path("out.npz")))


def info(height: int, width: int, num_frames: int | None = 1000) -> StreamInfo:
    return StreamInfo(width, height, Fraction(1, 25), Fraction(25), num_frames)


def limits(
    *, height: int = 32, width: int = 48, workers: int = 2, lanes: int = 2, store_mib: float = 1000
) -> Limits:
    return limits_of(
        pipeline(is_dense=False),
        info(height, width),
        RaySettings(),
        workers=workers,
        lanes=lanes,
        abreast=1,
        store_bytes=store_mib * MIB,
    )


def test_an_interval_has_its_images_as_bytes_and_its_flow_as_half_floats() -> None:
    # Radius 2 of stride 4 reads the residues 0 to 3: four images, and two flows of two numbers.
    assert bytes_per_frame(pipeline(), info(10, 20)) == 200 * (4 * 3 + 2 * 2 * 2)


class Making:
    """A translator whose output has the channels and the size that it declares."""

    name = "making"

    def __init__(self, traits: TranslatorTraits) -> None:
        self.traits = traits

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        number, _, height, width = images.shape
        scale = self.traits.scale
        return torch.zeros(number, self.traits.channels, scale * height, scale * width)


@pytest.mark.parametrize("keep_sources", ["none", "original", "all"])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize(
    "traits",
    [
        TranslatorTraits(),
        TranslatorTraits(scale=2),
        TranslatorTraits(channels=2, is_picture=False),
    ],
    ids=str,
)
def test_a_frame_is_as_large_as_what_is_sent_of_it(
    traits: TranslatorTraits, keep_sources: KeepSources, *, is_masked: bool
) -> None:
    height, width = 16, 24
    masks = moving_masks(2, height, width) if is_masked else None
    first, second = frames_of(moving(2, height, width), masks)
    timeline = Timeline(insert=1, radius=1)
    interpolate = Interpolate(
        timeline, interpolator=LinearInterpolator(), flow=DisFlow(), keep_flow=True
    )
    translate = Translate(Making(traits), keep_sources=keep_sources)
    stages = [Stage(interpolate, "interpolate"), Stage(translate, "translate")]
    source = ListSource([first, second])
    wire = Wire()

    (interval,) = interpolate.process(FramePair(first, second))
    (translated,) = translate.process(interval)

    made = Pipeline(source, stages, ArraySink(Path("out.npz")), wire)
    assert bytes_per_frame(made, source.info()) == pack(translated, wire).num_bytes


@pytest.mark.parametrize(
    ("wanted", "workers", "nodes", "videos", "lanes"),
    [
        (None, 1, 1, 1, 2),
        (None, 1, 1, 3, 3),
        (None, 1, 1, 100, 6),
        (None, 64, 1, 100, 12),
        (None, 64, 1, 1, 8),
        (None, 8, 6, 1, 6),
        (5, 64, 9, 1, 5),
    ],
)
def test_lanes_are_enough_for_workers_nodes_and_videos(
    wanted: int | None, workers: int, nodes: int, videos: int, lanes: int
) -> None:
    assert num_lanes(RaySettings(lanes=wanted), workers, nodes, videos) == lanes


def test_a_message_is_some_megabytes_whatever_the_size_of_the_pictures() -> None:
    small, large, huge = (
        limits(height=h, width=w) for h, w in ((32, 48), (720, 1280), (4320, 7680))
    )

    assert small.chunk_frames > large.chunk_frames > huge.chunk_frames == 1
    assert 4 * MIB < large.chunk_frames * 3 * 720 * 1280 <= 32 * MIB


def test_many_workers_get_smaller_chunks_so_that_all_have_two() -> None:
    few, many = limits(workers=1), limits(workers=64, lanes=8)

    assert many.chunk_frames < few.chunk_frames
    # The open segments hold two chunks for each worker.
    segment = 100
    assert 8 * segment / many.chunk_frames >= 2 * 64


def test_what_is_on_its_way_fits_half_of_the_object_store() -> None:
    for store_mib in (20, 100, 1000):
        given = limits(height=720, width=1280, store_mib=store_mib)
        held = given.max_credits * given.chunk_frames * 3 * 720 * 1280

        assert given.max_credits == 1 or held <= store_mib * MIB / 2
        assert given.max_credits >= 1
