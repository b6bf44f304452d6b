"""Thumbnails are the average colours of cells of the picture, whichever way they are made."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import write_clip
from streams import ListSource, frames_of, textured

from operators.frame import Frame
from pipeline.io.endpoint import ThumbnailSource
from pipeline.io.images import ImageFolderSource
from pipeline.io.masks import MaskedSource
from pipeline.io.thumbnails import thumbnails_of
from pipeline.io.video_source import VideoSource


def cells(frame: Frame, height: int, width: int) -> np.ndarray:
    """The average of every cell, by slicing."""
    levels = frame.image.numpy().transpose(1, 2, 0) * 255
    down, right = levels.shape[0] // height, levels.shape[1] // width
    return np.array(
        [
            [
                levels[down * y : down * (y + 1), right * x : right * (x + 1)].mean(axis=(0, 1))
                for x in range(width)
            ]
            for y in range(height)
        ]
    )


def tiles(number: int, height: int, width: int) -> list[np.ndarray]:
    """Planes of even tiles, 18 by 32 of them."""
    generator = np.random.default_rng(number)
    tile = np.ones((height // 18, width // 32), dtype=np.int64)
    return [np.kron(generator.integers(90, 160, (18, 32)), tile) for _ in range(3)]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray"])
def test_a_video_is_shrunk_before_it_is_converted(tmp_path: Path, pix_fmt: str) -> None:
    path = write_clip(
        tmp_path / "in.mkv", size=(144, 256), pix_fmt=pix_fmt, codec="ffv1", planes=tiles
    )
    source = VideoSource(path)

    thumbnails = list(thumbnails_of(source, 18, 32))

    assert len(thumbnails) == 8
    for thumbnail, frame in zip(thumbnails, source.frames(), strict=True):
        assert (thumbnail.shape, thumbnail.dtype) == ((18, 32, 3), np.uint8)
        # Tiles run into each other where chroma is brought to full resolution.
        np.testing.assert_allclose(thumbnail, cells(frame, 18, 32), atol=8)


def test_thumbnails_are_those_of_the_frames_that_the_source_yields(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in.mp4")
    everything = list(thumbnails_of(VideoSource(path), 4, 6))

    part = list(thumbnails_of(VideoSource(path, start=3, frames=4), 4, 6))

    np.testing.assert_array_equal(part, everything[3:7])


@pytest.mark.parametrize("size", [(2, 2), (2, 64), (130, 2)])
def test_pictures_smaller_than_a_thumbnail_are_enlarged(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = write_clip(tmp_path / "in.mkv", size=size, codec="ffv1", pix_fmt="yuv444p")

    assert {one.shape for one in thumbnails_of(VideoSource(path), 18, 32)} == {(18, 32, 3)}


def test_a_source_without_thumbnails_of_its_own_is_shrunk_frame_by_frame() -> None:
    frames = frames_of([textured(36, 64, seed) for seed in range(3)])
    source = ListSource(frames)
    assert not isinstance(source, ThumbnailSource)

    thumbnails = list(thumbnails_of(source, 18, 32))

    for thumbnail, frame in zip(thumbnails, frames, strict=True):
        np.testing.assert_allclose(thumbnail, cells(frame, 18, 32), atol=0.51)


def test_a_single_pixel_fills_a_thumbnail() -> None:
    (thumbnail,) = thumbnails_of(ListSource(frames_of([torch.full((3, 1, 1), 0.2)])), 18, 32)

    np.testing.assert_array_equal(thumbnail, np.full((18, 32, 3), 51))


def test_masks_are_not_looked_at(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in.mp4")
    source = MaskedSource(VideoSource(path), tmp_path / "no masks here")

    np.testing.assert_array_equal(
        list(thumbnails_of(source, 4, 6)), list(thumbnails_of(VideoSource(path), 4, 6))
    )


def test_a_folder_of_images_has_thumbnails(tmp_path: Path) -> None:
    levels = np.arange(36 * 64 * 3, dtype=np.uint8).reshape(36, 64, 3)
    assert cv2.imwrite(str(tmp_path / "0.png"), levels)
    source = ImageFolderSource(tmp_path)

    (thumbnail,) = thumbnails_of(source, 18, 32)

    np.testing.assert_allclose(thumbnail, cells(next(source.frames()), 18, 32), atol=0.51)
