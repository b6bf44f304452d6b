"""OpenEXR, against the curve of sRGB by hand and half floats by numpy."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.testing import assert_close

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io.endpoint import StreamInfo
from pipeline.io.image_sink import ImageFolderSink
from pipeline.io.images import ImageFolderSource

SIZE = (9, 14)
INFO = StreamInfo(14, 9, Fraction(1, 24), Fraction(24), None)


def to_display(light: NDArray[Any]) -> NDArray[Any]:
    """IEC 61966-2-1, one number after the other."""
    numbers = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in light.flat]
    return np.array(numbers).reshape(light.shape)


def write_exr(path: Path, light: NDArray[Any], kind: str = "half") -> None:
    """Linear RGB, or RGB and alpha, ``(H, W, C)``, by FFmpeg's own encoder."""
    height, width, channels = light.shape
    encoder: Any = av.CodecContext.create("exr", "w")
    pix_fmt = "gbrpf32le" if channels == 3 else "gbrapf32le"
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pix_fmt
    encoder.time_base, encoder.options = Fraction(1), {"format": kind}
    picture = av.VideoFrame(width, height, pix_fmt)
    for plane, channel in zip(picture.planes, (1, 2, 0, 3), strict=False):
        rows = np.zeros((height, plane.line_size // 4), dtype="<f4")
        rows[:, :width] = light[:, :, channel]
        plane.update(rows.tobytes())
    path.write_bytes(b"".join(bytes(p) for p in encoder.encode(picture) + encoder.encode(None)))


@pytest.mark.parametrize("kind", ["half", "float"])
def test_linear_light_is_brought_to_the_curve_of_a_display(tmp_path: Path, kind: str):
    light = np.random.default_rng(0).random((*SIZE, 3)) ** 3
    light[0, :3, 0] = 0.0, 0.002, 1.0
    light = light.astype(np.float16).astype(float)
    write_exr(tmp_path / "0.exr", light, kind)

    source = ImageFolderSource(tmp_path)
    (frame,) = source.frames()

    expected = torch.from_numpy(to_display(light)).permute(2, 0, 1).float()
    assert_close(frame.image, expected, atol=0.6 / 65535, rtol=0)
    assert source.info().depth == 16


def test_what_is_written_is_linear_and_comes_back(tmp_path: Path):
    levels = torch.linspace(0, 1, 3 * 9 * 14).view(3, *SIZE)
    sink = ImageFolderSink(tmp_path / "out", codec="exr")
    sink.open(INFO)
    sink.write(Frame(0, levels, 0, Fraction(1, 24)))
    sink.close()

    assert [path.name for path in sink.path.iterdir()] == ["00000.exr"]
    decoder: Any = av.CodecContext.create("exr", "r")
    data = av.Packet((sink.path / "00000.exr").read_bytes())
    (picture,) = decoder.decode(data) + decoder.decode(None)
    planes = [np.frombuffer(plane, "<f2").reshape(9, -1)[:, :14] for plane in picture.planes]
    light = np.stack([planes[2], planes[0], planes[1]]).astype(float)
    # Half floats have eleven bits.
    assert_close(to_display(light), levels.numpy().astype(float), atol=2.5e-4, rtol=0)
    (frame,) = ImageFolderSource(sink.path).frames()
    assert_close(frame.image, levels, atol=2.6e-4, rtol=0)
    assert sink.depth(INFO) == 16


def test_light_above_white_is_clamped_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for number in range(2):
        write_exr(tmp_path / f"{number}.exr", np.full((*SIZE, 3), 7.5))

    with caplog.at_level(logging.WARNING):
        frames = list(ImageFolderSource(tmp_path).frames())

    assert all(torch.equal(frame.image, torch.ones(3, *SIZE)) for frame in frames)
    assert [record.getMessage().count("light above 1") for record in caplog.records] == [1]


def test_alpha_is_left_out_and_numbers_that_are_none_are_black(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    light = np.full((*SIZE, 4), 0.25)
    light[0, 0, 1] = np.nan
    write_exr(tmp_path / "0.exr", light, "float")

    with caplog.at_level(logging.WARNING):
        (frame,) = ImageFolderSource(tmp_path).frames()

    assert frame.image.shape == (3, *SIZE)
    assert frame.image[1, 0, 0] == 0
    assert "alpha is dropped" in caplog.text


def test_a_broken_file_is_named(tmp_path: Path):
    (tmp_path / "0.exr").write_bytes(b"\x76\x2f\x31\x01 and no more")

    with pytest.raises(InputError, match=r"0.exr must be an OpenEXR image, got something"):
        list(ImageFolderSource(tmp_path).frames())
