"""Folders of images."""

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from operators.frame import Frame
from pipeline.errors import InputError, UsageError
from pipeline.io.endpoint import Sink, Source, StreamInfo
from pipeline.io.image_sink import ImageFolderSink
from pipeline.io.images import ImageFolderSource, natural_key

INFO = StreamInfo(5, 4, Fraction(1, 24), Fraction(24), None)


def rgb(seed: int, kind: type = np.uint8, channels: int = 3) -> np.ndarray:
    """Noise, ``(4, 5, channels)``, red first."""
    top = np.iinfo(kind).max
    return np.random.default_rng(seed).integers(0, top + 1, (4, 5, channels)).astype(kind)


def save(path: Path, levels: np.ndarray) -> None:
    order = [2, 1, 0, 3][: levels.shape[2]] if levels.shape[2] > 1 else [0]
    assert cv2.imwrite(str(path), levels[:, :, order])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven images whose names sort wrongly as plain text."""
    place = tmp_path / "images"
    place.mkdir()
    for number in range(11):
        save(place / f"frame{number}.png", rgb(number))
    (place / "notes.txt").write_text("not an image")
    (place / ".hidden.png").write_text("not an image either")
    return place


def test_images_come_in_the_order_of_their_numbers(folder: Path):
    frames = list(ImageFolderSource(folder).frames())

    assert len(frames) == 11
    for number, frame in enumerate(frames):
        expected = torch.from_numpy(rgb(number)).permute(2, 0, 1) / 255
        assert_close(frame.image, expected, atol=1e-7, rtol=0)
        assert (frame.index, frame.pts, frame.time_base) == (number, number, Fraction(1, 24))


@given(st.lists(st.integers(0, 5000), unique=True))
def test_natural_order_is_the_order_of_numbers(numbers: list[int]):
    names = [f"shot2_{number}.png" for number in numbers]

    ordered = sorted(names, key=natural_key)

    assert ordered == [f"shot2_{number}.png" for number in sorted(numbers)]


def test_names_that_mix_digits_and_letters_can_be_sorted():
    assert sorted(["b1", "1b", "a", "10"], key=natural_key) == ["1b", "10", "a", "b1"]


def test_a_part_of_a_folder(folder: Path):
    source = ImageFolderSource(folder, start=2, frames=5, rate=Fraction(30000, 1001))
    frames = list(source.frames(1, 3))

    assert isinstance(source, Source)
    assert [frame.index for frame in frames] == [1, 2]
    expected = torch.from_numpy(rgb(3)).permute(2, 0, 1) / 255
    assert_close(frames[0].image, expected, atol=1e-7, rtol=0)
    assert source.info().num_frames == 5 == len(list(source.frames()))
    assert frames[0].time_base == Fraction(1001, 30000) == source.info().time_base
    assert (source.info().height, source.info().width) == (4, 5)


def test_sixteen_bits_keep_their_precision(tmp_path: Path):
    levels = rgb(0, np.uint16)
    save(tmp_path / "0.png", levels)

    (frame,) = ImageFolderSource(tmp_path).frames()

    expected = torch.from_numpy(levels.astype(np.float32) / 65535).permute(2, 0, 1)
    assert_close(frame.image, expected, atol=1e-7, rtol=0)


def test_grey_becomes_rgb(tmp_path: Path):
    levels = rgb(0, channels=1)
    save(tmp_path / "0.png", levels)

    (frame,) = ImageFolderSource(tmp_path).frames()

    assert frame.image.shape == (3, 4, 5)
    for channel in frame.image:
        assert_close(channel, torch.from_numpy(levels[:, :, 0]) / 255, atol=1e-7, rtol=0)


def test_alpha_is_dropped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for number in range(3):
        save(tmp_path / f"{number}.png", rgb(number, channels=4))

    with caplog.at_level(logging.WARNING):
        frames = list(ImageFolderSource(tmp_path).frames())

    expected = torch.from_numpy(rgb(1, channels=4)[:, :, :3]).permute(2, 0, 1) / 255
    assert_close(frames[1].image, expected, atol=1e-7, rtol=0)
    assert [record.getMessage().count("alpha is dropped") for record in caplog.records] == [1]


def test_the_first_image_of_another_size_is_named_unless_a_size_is_chosen(folder: Path):
    save(folder / "frame7.png", rgb(0)[:3])

    with pytest.raises(InputError, match=r"frame7.png must have the size 5x4 .* got 5x3"):
        list(ImageFolderSource(folder).frames())

    frames = list(ImageFolderSource(folder, size=(8, 6)).frames())
    assert {frame.image.shape for frame in frames} == {(3, 8, 6)}


def test_folders_that_cannot_be_read_are_refused(folder: Path, tmp_path: Path):
    (folder / "frame3.png").write_bytes(b"broken")
    (folder / "frame4.png").write_bytes(b"")
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(InputError, match=r"frame3.png must be an image of 8 or 16 bits"):
        list(ImageFolderSource(folder).frames())
    with pytest.raises(InputError, match=r"frame4.png must be an image"):
        list(ImageFolderSource(folder, start=4).frames())
    with pytest.raises(InputError, match=r"empty must hold at least one image"):
        ImageFolderSource(empty).info()
    with pytest.raises(InputError, match="must hold more than 11 images, got 11"):
        ImageFolderSource(folder, start=11).info()
    with pytest.raises(InputError, match="must be a readable folder of images"):
        ImageFolderSource(tmp_path / "missing").info()


def frame_of(levels: np.ndarray, index: int = 0) -> Frame:
    image = torch.from_numpy(levels).permute(2, 0, 1) / 255
    return Frame(index, image, index, Fraction(1, 24))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_what_another_reader_finds(tmp_path: Path, channels: int):
    sink = ImageFolderSink(tmp_path / "out")
    sink.open(INFO)
    for number in range(3):
        sink.write(frame_of(rgb(number, channels=channels), number + 100))
        assert not sink.path.exists()
    sink.close()

    assert isinstance(sink, Sink)
    names = sorted(path.name for path in sink.path.iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]
    for number, name in enumerate(names):
        stored = cv2.imread(str(sink.path / name), cv2.IMREAD_UNCHANGED)
        expected = rgb(number, channels=channels)
        assert np.array_equal(stored.reshape(expected.shape)[:, :, ::-1], expected)
    assert list(tmp_path.iterdir()) == [sink.path]


def deep_frame(index: int) -> Frame:
    return Frame(
        index, torch.from_numpy(rgb(index, np.uint16) / 65535).permute(2, 0, 1), 0, INFO.rate
    )


@pytest.mark.parametrize(
    ("depth", "pix_fmt", "kind"),
    [(8, None, np.uint8), (10, None, np.uint16), (8, "rgb48", np.uint16), (16, "rgb24", np.uint8)],
)
def test_a_deep_input_becomes_images_of_sixteen_bits_unless_told_otherwise(
    tmp_path: Path, depth: int, pix_fmt: str | None, kind: type
):
    sink = ImageFolderSink(tmp_path / "out", pix_fmt=pix_fmt)
    info = replace(INFO, depth=depth)
    parts = []
    for number in range(2):
        parts.append(tmp_path / f"part{number}")
        part = sink.segment(parts[-1])
        part.open(info)
        part.write(deep_frame(number))
        part.close()
    sink.join(info, parts)

    assert sink.depth(info) == 8 * np.dtype(kind).itemsize
    for number in range(2):
        stored = cv2.imread(str(sink.path / f"0000{number}.png"), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == kind
        expected = rgb(number, np.uint16) / 65535 * np.iinfo(kind).max
        assert np.abs(stored[:, :, ::-1] - expected).max() <= 0.51


def test_sixteen_bits_come_back_exactly(tmp_path: Path):
    save(tmp_path / "0.png", rgb(3, np.uint16))
    source = ImageFolderSource(tmp_path)
    sink = ImageFolderSink(tmp_path / "out")
    sink.open(source.info())
    for frame in source.frames():
        sink.write(frame)
    sink.close()

    assert source.info().depth == 16
    stored = cv2.imread(str(sink.path / "00000.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored[:, :, ::-1], rgb(3, np.uint16))


def test_jpeg_keeps_its_chroma_and_takes_a_quality(tmp_path: Path):
    sizes = {}
    for quality in ("95", "20"):
        sink = ImageFolderSink(tmp_path / quality, codec="jpeg", options={"quality": quality})
        sink.open(INFO)
        for number in range(2):
            image = torch.zeros(3, 64, 64)
            # Stripes of one pixel that differ in colour alone.
            image[0, :, ::2], image[2, :, 1::2] = 0.6, 1.0
            image[1] = 0.3
            sink.write(Frame(number, image, number, INFO.time_base))
        sink.close()
        assert sorted(path.name for path in sink.path.iterdir()) == ["00000.jpg", "00001.jpg"]
        sizes[quality] = (sink.path / "00000.jpg").stat().st_size
    stored = cv2.imread(str(tmp_path / "95" / "00000.jpg"))[:, :, ::-1].astype(int)

    assert sizes["95"] > sizes["20"]
    assert np.abs(stored[8:-8, 8:-8:2] - (153, 76, 0)).mean() < 12
    assert np.abs(stored[8:-8, 9:-8:2] - (0, 76, 255)).mean() < 12


def test_abort_and_an_empty_output_leave_nothing(tmp_path: Path):
    sink = ImageFolderSink(tmp_path / "out")
    sink.open(INFO)
    sink.write(frame_of(rgb(0)))
    sink.abort()
    sink.abort()
    assert list(tmp_path.iterdir()) == []

    sink.open(INFO)
    with pytest.raises(InputError, match="at least one frame, got none"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_overwritten_only_if_asked_and_only_if_a_sink_wrote_it(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    save(out / "00000.png", rgb(0))
    save(out / "00001.png", rgb(1))

    with pytest.raises(UsageError, match="output must not exist unless"):
        ImageFolderSink(out).open(INFO)
    (out / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"nothing but numbered images .* got thesis.tex"):
        ImageFolderSink(out, overwrite=True).open(INFO)
    assert (out / "thesis.tex").read_text() == "precious"
    (out / "thesis.tex").unlink()

    sink = ImageFolderSink(out, overwrite=True)
    sink.open(INFO)
    sink.write(frame_of(rgb(5)))
    assert len(list(out.iterdir())) == 2
    sink.close()
    assert [path.name for path in out.iterdir()] == ["00000.png"]
    assert list(tmp_path.iterdir()) == [out]


def test_channels_that_are_no_picture_are_refused(tmp_path: Path):
    sink = ImageFolderSink(tmp_path / "out")
    sink.open(INFO)

    with pytest.raises(UsageError, match="must get frames of 1 or 3 channels, got 2 at frame 9"):
        sink.write(Frame(9, torch.zeros(2, 4, 5), 9, Fraction(1, 24)))
    sink.abort()
    with pytest.raises(ValueError, match="must be opened before frame 0"):
        sink.write(frame_of(rgb(0)))
