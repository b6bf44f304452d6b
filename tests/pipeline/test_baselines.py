"""The systems that the paper compares with, and its own networks, on small clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded import save_seeded
from streams import FunctionTranslator, ListSink, ListSource, frames_of, moving, moving_masks
from torch import Tensor

from operators.errors import ModelError
from operators.models import registry
from operators.recurrent import BlindConsistency, VINetInpaint
from pipeline.local_runner import LocalRunner
from pipeline.recipes import blind_consistency, framewise, hypercon, vinet
from pipeline.stage import Pipeline, Stage

HEIGHT, WIDTH = 48, 64


def darken(images: Tensor) -> Tensor:
    """A translator whose result depends on the brightness of the whole frame."""
    return images * (1 - images.mean(dim=(1, 2, 3), keepdim=True))


def run(
    images: list[Tensor], stages: tuple[Stage, ...], masks: list[Tensor] | None = None
) -> np.ndarray:
    """Levels ``(N, H, W, 3)`` of what a pipeline makes of the images."""
    sink = ListSink()
    LocalRunner("cpu").run(Pipeline(ListSource(frames_of(images, masks)), stages, sink))
    return sink.images().transpose(0, 2, 3, 1)


def levels(images: list[Tensor]) -> np.ndarray:
    stacked = torch.stack([image.clamp(0, 1) for image in images]).permute(0, 2, 3, 1)
    return (stacked * 255).round().to(torch.uint8).numpy()


def assert_known_pixels_are_kept(
    actual: np.ndarray, images: list[Tensor], masks: list[Tensor]
) -> None:
    for n, (image, mask) in enumerate(zip(images, masks, strict=True)):
        known = ~mask[0].numpy()
        np.testing.assert_array_equal(actual[n][known], levels([image])[0][known])
        assert (actual[n][~known] != levels([image])[0][~known]).mean() > 0.5


def test_fast_neural_style_frame_by_frame_is_its_network_on_each_frame(tmp_path: Path) -> None:
    network = save_seeded(registry.entry("translator", "mosaic"), tmp_path)
    images = moving(3, HEIGHT, WIDTH)

    actual = run(images, framewise("mosaic", weights=tmp_path))

    expected = [network(image[None])[0] for image in images]
    difference = np.abs(actual.astype(int) - levels(expected).astype(int))
    assert difference.max() <= 1


def test_blind_consistency_is_the_frame_wise_video_through_the_recurrent_network(
    tmp_path: Path,
) -> None:
    save_seeded(registry.entry("recurrent", "lai"), tmp_path)
    images = moving(4, HEIGHT, WIDTH)
    stages = blind_consistency(FunctionTranslator(darken), weights=tmp_path)

    actual = run(images, stages)

    translated = run(images, framewise(FunctionTranslator(darken)))
    operator = BlindConsistency(registry.entry("recurrent", "lai"), tmp_path)
    operator.setup(torch.device("cpu"))
    expected = []
    for n, (frame, image) in enumerate(zip(translated, images, strict=True)):
        picture = torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        item = replace(frames_of([picture])[0], index=n, guide=image)
        expected += [result.image for result in operator.process(item)]
    np.testing.assert_array_equal(actual, levels(expected))
    np.testing.assert_array_equal(actual[0], translated[0])
    assert not np.array_equal(actual[1], translated[1])
    assert stages[-1].operator.reach is None


def test_masked_blind_consistency_keeps_known_pixels(tmp_path: Path) -> None:
    for kind, name in (("recurrent", "lai"), ("translator", "deepfill")):
        save_seeded(registry.entry(kind, name), tmp_path)
    images, masks = moving(3, HEIGHT, WIDTH), moving_masks(3, HEIGHT, WIDTH)

    steadied = run(images, blind_consistency("deepfill", weights=tmp_path), masks)
    alone = run(images, framewise("deepfill", masked=True, weights=tmp_path), masks)

    assert_known_pixels_are_kept(steadied, images, masks)
    assert_known_pixels_are_kept(alone, images, masks)
    assert not np.array_equal(steadied[2], alone[2])


def test_hypercon_runs_with_the_networks_of_the_paper(tmp_path: Path) -> None:
    for kind, name in (
        ("interpolator", "super-slomo"),
        ("flow", "pwcnet"),
        ("translator", "deepfill"),
    ):
        save_seeded(registry.entry(kind, name), tmp_path)
    images, masks = moving(3, HEIGHT, WIDTH), moving_masks(3, HEIGHT, WIDTH)

    stages = hypercon(
        "deepfill",
        insert=1,
        radius=1,
        pool="median",
        alignment="exact",
        interpolation="super-slomo",
        flow="pwcnet",
        masked=True,
        weights=tmp_path,
    )

    assert_known_pixels_are_kept(run(images, stages, masks), images, masks)


def test_vinet_fills_the_holes_of_every_frame_in_order(tmp_path: Path) -> None:
    save_seeded(registry.entry("recurrent", "vinet-256"), tmp_path)
    images, masks = moving(8, HEIGHT, WIDTH), moving_masks(8, HEIGHT, WIDTH)
    sink = ListSink()
    (stage,) = vinet("vinet-256", weights=tmp_path)

    pipeline = Pipeline(ListSource(frames_of(images, masks)), (stage,), sink)
    LocalRunner("cpu").run(pipeline)

    assert [frame.index for frame in sink.frames] == list(range(8))
    assert_known_pixels_are_kept(sink.images().transpose(0, 2, 3, 1), images, masks)
    assert isinstance(stage.operator, VINetInpaint)
    assert stage.operator.reach is None


def test_vinet_is_no_other_network() -> None:
    for other in ("lai", "styles:19"):
        with pytest.raises(ModelError, match=f"must be vinet-512 or vinet-256, got '{other}'"):
            vinet(other)
