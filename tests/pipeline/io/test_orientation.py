"""The eight ways in which a picture lies in its file, against carrying every pixel by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import MakeClip
from roundtrip import facts
from torch.testing import assert_close

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

# a, b, c, d: a stored point (x, y) is shown at (a x + c y, b x + d y), y downwards.
MATRICES = {
    "as-stored": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "upside-down": (-1, 0, 0, -1),
    "flipped": (1, 0, 0, -1),
    "right": (0, 1, -1, 0),
    "left": (0, -1, 1, 0),
    "transposed": (0, 1, 1, 0),
    "anti-transposed": (0, -1, -1, 0),
}


def lay(clip: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write a display matrix into the head of the first track of an MP4."""
    a, b, c, d = matrix
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    words = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(word.to_bytes(4, "big", signed=True) for word in words)
    clip.write_bytes(data)
    return clip


def shown(image: torch.Tensor, matrix: tuple[int, int, int, int]) -> torch.Tensor:
    """Every pixel carried to where it is shown, then all moved to begin at zero."""
    a, b, c, d = matrix
    _, height, width = image.shape
    places = {(x, y): (a * x + c * y, b * x + d * y) for y in range(height) for x in range(width)}
    left = min(x for x, _ in places.values())
    top = min(y for _, y in places.values())
    size = (height, width) if a else (width, height)
    picture = torch.full((3, *size), torch.nan)
    for (x, y), (to_x, to_y) in places.items():
        picture[:, to_y - top, to_x - left] = image[:, y, x]
    return picture


@pytest.mark.parametrize("name", MATRICES)
def test_a_picture_is_decoded_as_it_is_shown(make_clip: MakeClip, name: str):
    level = make_clip("level.mp4", pts=[0], options={"qp": "0"})
    lying = lay(make_clip("lying.mp4", pts=[0], options={"qp": "0"}), MATRICES[name])
    (stored,) = VideoSource(level).frames()

    source = VideoSource(lying)
    (frame,) = source.frames()

    assert torch.equal(frame.image, shown(stored.image, MATRICES[name]))
    assert (source.info().height, source.info().width) == frame.image.shape[1:]


@pytest.mark.parametrize("name", MATRICES)
def test_players_show_a_copy_as_they_show_the_original(
    make_clip: MakeClip, tmp_path: Path, name: str
):
    clip = make_clip(pts=range(2), size=(48, 96), pixel_aspect=Fraction(4, 3))
    lay(clip, MATRICES[name])
    out = tmp_path / "out.mp4"

    LocalRunner("cpu").run(Pipeline(VideoSource(clip), [], VideoSink(out)))

    before, after = facts(clip), facts(out)
    assert after.aspect == before.aspect
    assert np.abs(after.thumbnail - before.thumbnail).mean() < 2
    for other in (before.thumbnail[::-1], before.thumbnail[:, ::-1], before.thumbnail[::-1, ::-1]):
        assert np.abs(after.thumbnail - other).mean() > 8


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_video_is_decoded_upright(make_clip: MakeClip, degrees: int):
    level = make_clip("level.mp4", pts=[0], options={"qp": "0"})
    turned = make_clip("turned.mp4", pts=[0], options={"qp": "0"}, rotation=degrees)
    (expected,) = VideoSource(level).frames()

    source = VideoSource(turned)
    (frame,) = source.frames()

    turns = degrees // 90
    upright = np.rot90(expected.image.numpy(), turns, axes=(1, 2))
    assert_close(frame.image, torch.from_numpy(upright.copy()), atol=0, rtol=0)
    assert (source.info().height, source.info().width) == frame.image.shape[1:]
    (small,) = VideoSource(turned, size=(18, 12)).frames()
    assert small.image.shape == (3, 18, 12)


def test_the_shape_of_pixels_turns_with_the_picture(make_clip: MakeClip):
    level = make_clip("level.mp4", pts=[0], pixel_aspect=Fraction(4, 3))
    turned = make_clip("turned.mp4", pts=[0], pixel_aspect=Fraction(4, 3), rotation=90)

    assert VideoSource(level).info().display_aspect == Fraction(48, 32) * Fraction(4, 3)
    assert VideoSource(turned).info().display_aspect == Fraction(32, 48) * Fraction(3, 4)
