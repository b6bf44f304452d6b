"""Decoding on a graphics card: everything but the card itself, for which software stands in."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from card import GIVEN, Card, Pictures
from clips import MakeClip

from operators.frame import Frame
from pipeline.errors import InputError, UsageError
from pipeline.io import hardware
from pipeline.io.endpoint import ColorTags
from pipeline.io.hardware import accelerator, device_refusal, require_device
from pipeline.io.pixels import ImageReader, ImageWriter
from pipeline.io.video_source import VideoSource

HAS_DEVICE = device_refusal() is None
GOP = {"g": "5", "bf": "2"}


def looked_at(path: Path, **choices: Any) -> VideoSource:
    """A source that has been looked at for cuts."""
    source = VideoSource(path, **{"hwaccel": "auto"} | choices)
    assert list(source.thumbnails(18, 32))
    return source


def assert_same(found: list[Frame], expected: list[Frame]) -> None:
    assert [(f.index, f.pts, f.time_base) for f in found] == [
        (f.index, f.pts, f.time_base) for f in expected
    ]
    assert all(torch.equal(a.image, b.image) for a, b in zip(found, expected, strict=True))


def planes_of(bits: int, height: int, width: int) -> list[np.ndarray]:
    generator = np.random.default_rng(bits + height)
    sizes = [(height, width), *[(-(-height // 2), -(-width // 2))] * 2]
    return [generator.integers(0, 1 << bits, size, np.uint16) for size in sizes]


def picture_of(layout: str, planes: list[np.ndarray], size: tuple[int, int]) -> av.VideoFrame:
    picture = av.VideoFrame(size[1], size[0], layout)
    kind = np.dtype(np.uint8 if picture.format.components[0].bits == 8 else "<u2")
    for plane, levels in zip(picture.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
        rows[:, : levels.shape[1]] = levels
        plane.update(rows.tobytes())
    return picture


@pytest.mark.parametrize("size", [(32, 48), (31, 47), (1, 1), (2, 2), (54, 96)])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("color_range", [0, 1, 2])
def test_levels_mean_the_same_however_they_lie_in_memory(
    size: tuple[int, int], bits: int, color_range: int
):
    luma, blue, red = planes = planes_of(bits, *size)
    pairs = np.stack((blue, red), axis=-1).reshape(blue.shape[0], -1)
    # Ten bits lie in the upper ones of sixteen.
    shift = 0 if bits == 8 else 6
    planar = picture_of("yuv420p" if bits == 8 else "yuv420p10le", planes, size)
    given = picture_of("nv12" if bits == 8 else "p010le", [luma << shift, pairs << shift], size)
    color = ColorTags(color_range, 1, 1, 1)

    for wanted in (None, (20, 30)):
        for turns in (0, 1):
            read = ImageReader(color, wanted, turns)
            assert torch.equal(read(given), ImageReader(color, wanted, turns)(planar))


@pytest.mark.parametrize("pix_fmt", ["nv12", "p010le"])
def test_pictures_for_a_card_that_encodes_hold_the_levels_of_planar_ones(pix_fmt: str):
    image = torch.rand((3, 30, 46), generator=torch.Generator().manual_seed(1))
    planar = {given: planar for planar, given in GIVEN.items()}[pix_fmt]
    color = ColorTags(1, 1, 1, 1)

    written, expected = ImageWriter(pix_fmt, color)(image), ImageWriter(planar, color)(image)

    assert torch.equal(ImageReader(color)(written), ImageReader(color)(expected))


@pytest.mark.parametrize("pix_fmt", list(GIVEN))
@pytest.mark.parametrize(("first", "stop"), [(0, None), (0, 7), (6, None), (11, 13)])
def test_a_card_gives_the_frames_of_software(
    monkeypatch: pytest.MonkeyPatch,
    make_clip: MakeClip,
    pix_fmt: str,
    first: int,
    stop: int | None,
):
    clip = make_clip("clip.mp4", pix_fmt=pix_fmt, options=GOP, pts=range(0, 40, 2))
    expected = list(VideoSource(clip).frames(first, stop))
    card = Card(monkeypatch)

    assert_same(list(looked_at(clip).frames(first, stop)), expected)

    assert card.num_pictures >= len(expected)


def test_turned_resized_and_partial_video_is_the_same_too(
    monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
):
    clip = make_clip("clip.mp4", rotation=90, options=GOP, pts=range(20))
    choices = {"start": 3, "frames": 9, "size": (40, 20)}
    expected = list(VideoSource(clip, **choices).frames())
    card = Card(monkeypatch)

    assert_same(list(looked_at(clip, **choices).frames()), expected)

    assert card.num_pictures > 0


def test_a_card_decodes_only_what_was_seen_to_be_whole(
    monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
):
    clip = make_clip("clip.mp4", options=GOP, pts=range(20))
    card = Card(monkeypatch)
    source = VideoSource(clip, hwaccel="auto")

    assert source.count() == 20
    assert len(list(source.frames())) == 20
    assert card.num_pictures == 0
    next(source.thumbnails(18, 32))
    list(source.frames())
    assert card.num_pictures == 0
    list(source.thumbnails(18, 32))
    list(pickle.loads(pickle.dumps(source)).frames())  # noqa: S301 - our own bytes
    assert card.num_pictures == 20


def spoilt(clip: Path) -> Path:
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        packet = [p for p in container.demux(video=0) if p.size][8]
        start = data.index(bytes(packet))
        data[start + 5 : start + packet.size] = bytes(packet.size - 5)
    clip.write_bytes(data)
    return clip


def test_damage_is_looked_for_in_software(monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip):
    clip = spoilt(make_clip("clip.mp4", options=GOP, pts=range(20)))
    card = Card(monkeypatch)

    with pytest.raises(InputError, match=r"cannot be decoded at frame \d+, after"):
        looked_at(clip)

    kept = looked_at(clip, keep_damaged=True)
    plain = VideoSource(clip, keep_damaged=True)
    assert_same(list(kept.frames()), list(plain.frames()))
    assert kept.count() == plain.count()
    assert kept.notes() == plain.notes() != ()
    assert card.num_pictures == 0


def test_what_is_kept_of_a_whole_file_may_be_decoded_by_a_card(
    monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
):
    clip = make_clip("clip.mp4", options=GOP, pts=range(20))
    card = Card(monkeypatch)

    assert len(list(looked_at(clip, keep_damaged=True).frames())) == 20

    assert card.num_pictures == 20


def ends_early(pictures: Pictures) -> Pictures:
    return (item for item, _ in zip(pictures, range(8), strict=False))


def skips_one(pictures: Pictures) -> Pictures:
    return (item for number, item in enumerate(pictures) if number != 6)


def breaks_off(pictures: Pictures) -> Pictures:
    for number, item in enumerate(pictures):
        if number == 6:
            raise av.ExternalError(5, "the card is gone")
        yield item


def gives_all_of_a_cropped_picture(pictures: Pictures) -> Pictures:
    for stamp, picture in pictures:
        yield stamp, picture.reformat(width=picture.width + 8)


def gives_nothing(pictures: Pictures) -> Pictures:
    del pictures
    return iter(())


@pytest.mark.parametrize(
    "damage",
    [ends_early, skips_one, breaks_off, gives_all_of_a_cropped_picture, gives_nothing],
)
@pytest.mark.parametrize("first", [0, 3])
def test_software_goes_on_where_a_card_fails(
    monkeypatch: pytest.MonkeyPatch,
    make_clip: MakeClip,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Pictures], Pictures],
    first: int,
):
    clip = make_clip("clip.mp4", options=GOP, pts=range(20))
    expected = list(VideoSource(clip).frames(first))
    card = Card(monkeypatch, damage)
    source = looked_at(clip)

    with caplog.at_level(logging.WARNING):
        assert_same(list(source.frames(first)), expected)
        tried = card.num_pictures
        assert_same(list(source.frames(first)), expected)

    # A card that raises is not asked again.
    assert len(caplog.messages) == (damage is breaks_off)
    if damage is breaks_off:
        assert "decoding on a device failed, software goes on" in caplog.text
        assert card.num_pictures == tried


def test_a_card_that_cannot_be_opened_is_done_without(
    monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip, caplog: pytest.LogCaptureFixture
):
    clip = make_clip("clip.mp4", options=GOP, pts=range(20))
    expected = list(VideoSource(clip).frames())
    if HAS_DEVICE:
        pytest.skip("there is a device, which can be opened")
    # It is said to be there, and FFmpeg finds none.
    monkeypatch.setattr(hardware, "device_refusal", lambda _number=None: None)

    assert_same(list(looked_at(clip).frames()), expected)

    assert "software goes on" in caplog.text


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "is_exact"),
    [
        ("h264", "yuv420p", True),
        ("h264", "yuvj420p", True),
        ("hevc", "yuv420p10le", True),
        ("vp9", "yuv420p", True),
        ("h264", "yuv444p", False),
        ("hevc", "yuv420p12le", False),
        ("mpeg2video", "yuv420p", False),
        ("mpeg4", "yuv420p", False),
        ("mjpeg", "yuvj420p", False),
        ("vp8", "yuv420p", False),
        ("libdav1d", "yuv420p", False),
        ("prores", "yuv422p10le", False),
    ],
)
def test_only_codecs_that_leave_nothing_open_are_given_to_a_card(
    monkeypatch: pytest.MonkeyPatch, codec: str, pix_fmt: str, is_exact: bool
):
    monkeypatch.setattr(hardware, "device_refusal", lambda _number=None: None)

    assert (accelerator("auto", codec, pix_fmt) is not None) == is_exact
    assert (accelerator("cuda:1", codec, pix_fmt) is not None) == is_exact
    assert accelerator("off", codec, pix_fmt) is None


def test_each_of_them_can_be_decoded_by_a_card_in_this_build_of_ffmpeg():
    for codec in ("h264", "hevc", "vp9"):
        kinds = {config.device_type.name for config in av.Codec(codec, "r").hardware_configs}
        assert "cuda" in kinds


def test_the_number_of_a_device_is_handed_on(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(hardware, "device_refusal", asked.append)

    chosen = accelerator("cuda:1", "h264", "yuv420p")

    assert chosen is not None
    assert chosen.device_id == 1
    assert asked == ["1"]


@pytest.mark.skipif(HAS_DEVICE, reason="there is a device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_device_that_is_not_there_is_refused_by_name(make_clip: MakeClip, name: str):
    with pytest.raises(UsageError, match=rf"--hwaccel must name a device .*, got {name}: "):
        VideoSource(make_clip(), hwaccel=name).info()


@pytest.mark.skipif(HAS_DEVICE, reason="there is a device")
def test_where_there_is_no_device_auto_is_software_without_a_word(
    make_clip: MakeClip, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    clip = make_clip("clip.mp4", options=GOP, pts=range(20))
    expected = list(VideoSource(clip).frames())

    require_device("auto")
    found = list(looked_at(clip).frames())

    assert_same(found, expected)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


@pytest.mark.skipif(not HAS_DEVICE, reason="needs a graphics card that decodes")
@pytest.mark.parametrize("pix_fmt", list(GIVEN))
def test_a_real_card_gives_the_frames_of_software(make_clip: MakeClip, pix_fmt: str):
    clip = make_clip(
        "clip.mp4", codec="libx265", size=(288, 352), pix_fmt=pix_fmt, options=GOP, pts=range(20)
    )

    assert_same(list(looked_at(clip, hwaccel="cuda").frames()), list(VideoSource(clip).frames()))
