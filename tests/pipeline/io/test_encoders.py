"""Options by the encoders' own names, and files that do not tell where they were encoded."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from sinks import plain_frame, plain_info

from operators.frame import Frame
from pipeline.errors import UsageError
from pipeline.io.encoders import encoder_options, options_for_machine
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


@pytest.mark.parametrize(
    ("codec", "crf", "preset", "options", "expected"),
    [
        ("libx264", 23, "slow", {}, {"b": "0", "crf": "23", "preset": "slow"}),
        ("libx264", None, None, {"qp": "0"}, {"qp": "0"}),
        ("libx264", None, None, {"b": "2M"}, {"b": "2M"}),
        ("libx264", 20, None, {"crf": "30"}, {"b": "0", "crf": "30"}),
        ("libvpx-vp9", 31, "4", {}, {"b": "0", "crf": "31", "cpu-used": "4"}),
        ("libsvtav1", 35, "8", {}, {"crf": "35", "preset": "8"}),
        ("h264_nvenc", 21, "p5", {}, {"b": "0", "rc": "vbr", "cq": "21", "preset": "p5"}),
        ("prores_ks", None, "hq", {}, {"profile": "hq"}),
        ("mjpeg", 4, None, {}, {"qmin": "4", "qmax": "4"}),
        ("ffv1", None, None, {"level": "3"}, {"level": "3"}),
        ("utvideo", None, None, {"pred": "left"}, {"pred": "left"}),
    ],
)
def test_each_encoder_is_told_in_its_own_words(
    codec: str,
    crf: int | None,
    preset: str | None,
    options: dict[str, str],
    expected: dict[str, str],
):
    assert encoder_options(codec, crf, preset, options) == expected


def test_parameters_of_the_user_come_after_ours():
    chosen = encoder_options("libx265", 20, None, {"x265-params": "bframes=0:log-level=full"})

    parts = chosen["x265-params"].split(":")
    assert parts[-2:] == ["bframes=0", "log-level=full"]
    assert "info=0" in parts[:-2]


def size_at(path: Path, **choices: Any) -> int:
    """Bytes of a small clip."""
    sink = VideoSink(path, overwrite=True, **choices)
    sink.open(plain_info())
    torch.manual_seed(0)
    for number in range(4):
        sink.write(Frame(number, torch.rand(3, 80, 96), number, Fraction(1, 25)))
    sink.close()
    return path.stat().st_size


@pytest.mark.parametrize(
    ("codec", "name", "fine", "rough"),
    [
        ("libx264", "a.mp4", 10, 45),
        ("libx265", "a.mp4", 10, 45),
        ("libvpx-vp9", "a.webm", 10, 60),
        ("libsvtav1", "a.mp4", 10, 60),
        ("mjpeg", "a.mov", 2, 30),
        ("mpeg4", "a.mp4", 2, 30),
    ],
)
def test_a_smaller_crf_is_larger_on_disk(
    tmp_path: Path, codec: str, name: str, fine: int, rough: int
):
    path = tmp_path / name

    assert size_at(path, codec=codec, crf=fine) > 2 * size_at(path, codec=codec, crf=rough)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "bgr0", "yuv444p10le"])
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 3), (2, 2), (5, 4), (15, 40), (17, 16)])
def test_the_smallest_pictures_are_kept_without_loss(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int]
):
    sink = VideoSink(tmp_path / "a.mkv", codec="ffv1", pix_fmt=pix_fmt)
    sink.open(plain_info())
    for number in range(2):
        sink.write(plain_frame(number, (3, *size)))
    sink.close()

    first, _ = VideoSource(sink.path).frames()
    assert first.image.shape == (3, *size)
    assert (first.image - 0.5).abs().max() < 1 / 200


def test_the_profile_of_prores_is_its_preset(tmp_path: Path):
    path = tmp_path / "a.mov"

    assert size_at(path, codec="prores_ks", preset="hq") > size_at(
        path, codec="prores_ks", preset="proxy"
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "apco"


def test_headers_of_x265_do_not_tell_of_the_machine(tmp_path: Path):
    """Its note on its settings names threads and pools, which differ between machines."""
    path = tmp_path / "a.mp4"
    size_at(path, codec="libx265")

    with av.open(str(path)) as container:
        packets = b"".join(bytes(packet) for packet in container.demux(video=0))
        headers = container.streams.video[0].codec_context.extradata or b""
    assert headers
    for words in (b"x265 (build", b"pools", b"frame-threads"):
        assert words not in headers + packets


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_threads_do_not_follow_the_cores_of_the_machine(tmp_path: Path, codec: str):
    y, x = np.mgrid[0:288, 0:352]

    def packets(**choices: Any) -> bytes:
        sink = VideoSink(tmp_path / "a.mov", codec=codec, overwrite=True, **choices)
        sink.open(plain_info())
        for number in range(8):
            level = 0.5 + 0.4 * np.sin((x + 3 * number) / 9.0) * np.cos(y / 7.0)
            image = torch.from_numpy(level).float().expand(3, -1, -1)
            sink.write(Frame(number, image, number, Fraction(1, 25)))
        sink.close()
        with av.open(str(sink.path)) as container:
            return b"".join(bytes(packet) for packet in container.demux(video=0))

    assert packets() == packets(options={"threads": "4"})
    assert packets() != packets(options={"threads": "1"})


def test_an_encoder_of_a_graphics_card_is_not_tried_where_there_may_be_none(tmp_path: Path):
    sink = VideoSink(tmp_path / "a.mp4", codec="h264_nvenc", crf=20)

    assert sink.depth(plain_info()) == 8
    sink.open(plain_info())
    try:
        sink.write(plain_frame(0, (3, 240, 320)))
        sink.write(plain_frame(1, (3, 240, 320)))
    except UsageError as error:
        assert "cannot be written by h264_nvenc" in str(error)  # noqa: PT017 (a card may be there)
        assert "it needs a graphics card that encodes, libx264 needs none" in str(error)  # noqa: PT017
        assert list(tmp_path.iterdir()) == []
    else:
        sink.close()


@pytest.mark.parametrize(
    ("codec", "has_avx_512", "given", "expected"),
    [
        ("libx264", True, {}, "asm=MMX2,SSE2,SSSE3,SSE42,AVX,FMA3,BMI2,AVX2"),
        ("libx264", True, {"x264-params": "keyint=5"}, "keyint=5:asm=MMX2,"),
        ("libx264", True, {"x264-params": "asm=0"}, None),
        ("libx264", False, {}, None),
        ("libx265", True, {}, None),
    ],
)
def test_x264_does_without_the_instructions_that_make_it_err(
    monkeypatch: pytest.MonkeyPatch,
    codec: str,
    has_avx_512: bool,
    given: dict[str, str],
    expected: str | None,
) -> None:
    monkeypatch.setattr("cv2.checkHardwareSupport", lambda _: has_avx_512)

    added = options_for_machine(codec, given)

    assert added.get("x264-params", "").startswith(expected or "")
    assert bool(added) == (expected is not None)
