"""High dynamic range: refused, or kept to the last tag."""

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import write_clip
from sinks import plain_info

from pipeline.errors import InputError
from pipeline.io.endpoint import ColorTags, LightLevels
from pipeline.io.hdr import light_parameters
from pipeline.io.locations import open_source
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource

SCREEN = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
TRANSFERS = {"smpte2084": 16, "arib-std-b67": 18, "bt2020-10": 14}


def hdr_clip(path: Path, transfer: str = "smpte2084", more: str = "") -> Path:
    """Ten bits of BT.2020; x265 itself writes the tags and what is known of the screen."""
    parameters = (
        f"log-level=error:bframes=0:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    )
    return write_clip(
        path,
        codec="libx265",
        pix_fmt="yuv420p10le",
        size=(96, 128),
        pts=range(3),
        color=(1, 9),
        options={"x265-params": parameters + more},
    )


def with_screen(path: Path) -> Path:
    return hdr_clip(path, more=f":master-display={SCREEN}:max-cll=1000,400")


@pytest.mark.parametrize(
    ("transfer", "words"), [("smpte2084", r"got PQ \(SMPTE ST 2084\)"), ("arib-std-b67", "got HLG")]
)
def test_hdr_is_refused_in_a_line_that_says_what_to_type(tmp_path: Path, transfer: str, words: str):
    clip = hdr_clip(tmp_path / "hdr.mp4", transfer)

    with pytest.raises(InputError, match=rf"hdr.mp4 must have .*{words}.* --hdr keep"):
        open_source(clip).info()
    with pytest.raises(InputError, match=words):
        next(VideoSource(clip).frames())
    assert open_source(clip, keep_hdr=True).info().color.transfer == TRANSFERS[transfer]


def test_wide_colours_of_standard_range_are_not_refused(tmp_path: Path):
    info = VideoSource(hdr_clip(tmp_path / "wide.mp4", "bt2020-10")).info()

    assert info.color == ColorTags(range=1, matrix=9, primaries=9, transfer=14)


def test_the_screen_of_the_input_is_read(tmp_path: Path):
    light = VideoSource(with_screen(tmp_path / "hdr.mp4"), keep_hdr=True).info().light

    # x265 counts in 1/50000 and in 1/10000 cd/m².
    steps = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)
    assert light == LightLevels(
        chromaticities=tuple(Fraction(step, 50000) for step in steps),
        luminances=(Fraction(50, 10000), Fraction(1000)),
        max_content=1000,
        max_average=400,
    )


@pytest.mark.parametrize(
    ("codec", "exact"), [("libx265", True), ("libx264", True), ("libsvtav1", False)]
)
def test_tags_numbers_and_screen_are_kept(tmp_path: Path, codec: str, exact: bool):
    source = VideoSource(with_screen(tmp_path / "hdr.mp4"), keep_hdr=True)
    sink = VideoSink(tmp_path / "out.mp4", codec=codec, crf=4)
    sink.open(source.info())
    for frame in source.frames():
        sink.write(frame)
    sink.close()

    copy = VideoSource(sink.path, keep_hdr=True)
    before, after = source.info(), copy.info()
    assert (after.color, after.depth, after.pix_fmt) == (before.color, 10, "yuv420p10le")
    assert before.light is not None
    assert after.light is not None
    if exact:
        assert after.light == before.light
    # AV1 counts in other units: 1/65536, 1/256 and 1/16384.
    pairs = zip(after.light.chromaticities, before.light.chromaticities, strict=True)
    assert all(abs(new - old) < Fraction(1, 50000) for new, old in pairs)
    assert after.light.luminances[1] == 1000
    first, second = next(source.frames()).image, next(copy.frames()).image
    assert (first - second).abs().mean() < 0.01


def test_what_an_encoder_cannot_be_told_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    info = VideoSource(with_screen(tmp_path / "hdr.mp4"), keep_hdr=True).info()
    sink = VideoSink(tmp_path / "out.webm", codec="libvpx-vp9")

    with caplog.at_level(logging.WARNING):
        sink.open(info)
        sink.abort()
        sink.open(info)

    (record,) = caplog.records
    assert "out.webm cannot hold all of the input: 10 bits become 8" in record.getMessage()
    assert "the screen it was made on, for libvpx-vp9" in record.getMessage()


def test_parameters_of_the_user_win_over_those_of_the_input(tmp_path: Path):
    source = VideoSource(with_screen(tmp_path / "hdr.mp4"), keep_hdr=True)
    sink = VideoSink(
        tmp_path / "out.mp4", codec="libx265", options={"x265-params": "max-cll=600,200"}
    )
    sink.open(source.info())
    for frame in source.frames():
        sink.write(frame)
    sink.close()

    light = VideoSource(sink.path, keep_hdr=True).info().light
    assert light is not None
    assert (light.max_content, light.max_average) == (600, 200)


def test_nothing_is_made_up_where_only_the_content_is_known():
    light = LightLevels(max_content=800, max_average=100)

    assert light_parameters("libx265", light) == ("x265-params", "max-cll=800,100")
    assert light_parameters("ffv1", light) is None


def test_a_plain_clip_says_nothing_of_a_screen(tmp_path: Path):
    info = VideoSource(write_clip(tmp_path / "plain.mp4")).info()

    assert info.light is None
    assert (info.depth, info.pix_fmt) == (8, "yuv420p")
    assert replace(plain_info(), depth=10).depth == 10
    assert av.VideoFormat(info.pix_fmt).components[0].bits == 8
