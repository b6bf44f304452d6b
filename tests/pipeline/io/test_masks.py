"""Masks as people have them."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.io.endpoint import Source
from pipeline.io.images import ImageFolderSource
from pipeline.io.masks import MaskedSource, white_of_image

HEIGHT, WIDTH = 12, 16


def hole(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A block of 4 by 4 that moves to the right; true is missing."""
    mask = np.zeros((height, width), dtype=bool)
    mask[4:8, number : number + 4] = True
    return mask


def save(path: Path, mask: np.ndarray) -> None:
    assert cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


@pytest.fixture
def pictures(tmp_path: Path) -> ImageFolderSource:
    """Five grey pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return ImageFolderSource(folder)


@pytest.fixture
def mask_folder(tmp_path: Path) -> Path:
    """Five masks."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(5):
        save(folder / f"{number}.png", hole(number))
    return folder


def masks_of(source: MaskedSource, *bounds: int) -> list[np.ndarray]:
    frames = list(source.frames(*bounds))
    assert all(frame.mask.dtype == torch.bool for frame in frames)
    assert all(frame.mask.shape == (1, *frame.image.shape[1:]) for frame in frames)
    return [frame.mask[0].numpy() for frame in frames]


def test_a_folder_gives_each_frame_its_mask(pictures: ImageFolderSource, mask_folder: Path):
    source = MaskedSource(pictures, mask_folder)

    masks = masks_of(source)

    assert isinstance(source, Source)
    assert len(masks) == 5
    for number, mask in enumerate(masks):
        assert np.array_equal(mask, hole(number))
    assert source.info() == pictures.info()


def test_parts_of_video_and_masks_stay_together(pictures: ImageFolderSource, mask_folder: Path):
    part = ImageFolderSource(pictures.path, start=1)

    assert np.array_equal(masks_of(MaskedSource(pictures, mask_folder), 2, 4)[0], hole(2))
    assert np.array_equal(masks_of(MaskedSource(part, mask_folder, start=1), 2, 4)[0], hole(3))


def test_one_still_applies_to_every_frame(pictures: ImageFolderSource, tmp_path: Path):
    save(tmp_path / "still.png", hole(3))

    masks = masks_of(MaskedSource(pictures, tmp_path / "still.png"))

    assert len(masks) == 5
    assert all(np.array_equal(mask, hole(3)) for mask in masks)


def test_noise_of_jpeg_is_cut_at_one_half(pictures: ImageFolderSource, tmp_path: Path):
    path = tmp_path / "still.jpg"
    assert cv2.imwrite(str(path), hole(4).astype(np.uint8) * 255, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert len(np.unique(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))) > 2

    (mask, *_) = masks_of(MaskedSource(pictures, path))

    assert np.array_equal(mask, hole(4))


def test_a_video_of_masks(pictures: ImageFolderSource, tmp_path: Path):
    path = tmp_path / "masks.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        for number in range(5):
            levels = hole(number).astype(np.uint8) * 255
            picture = av.VideoFrame.from_ndarray(levels, format="gray")
            picture.pts, picture.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))

    masks = masks_of(MaskedSource(pictures, path))

    assert [np.array_equal(mask, hole(number)) for number, mask in enumerate(masks)] == [True] * 5


def test_any_index_of_a_palette_but_zero_is_missing(tmp_path: Path):
    """As DAVIS stores objects: dark colours that a threshold would lose."""
    indices = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    indices[2:4, 5:9] = 1
    indices[6:9, 1:3] = 2
    path = tmp_path / "palette.png"
    write_palette_png(path, indices)

    assert np.array_equal(white_of_image(path), indices != 0)


def write_palette_png(path: Path, indices: np.ndarray) -> None:
    """By FFmpeg, with a palette of black, dark red and dark green."""
    palette = np.zeros(256, dtype="<u4")
    palette[:3] = (0xFF000000, 0xFF800000, 0xFF008000)
    height, width = indices.shape
    picture = av.VideoFrame(width, height, "pal8")
    rows = np.zeros((height, picture.planes[0].line_size), dtype=np.uint8)
    rows[:, :width] = indices
    picture.planes[0].update(rows.tobytes())
    picture.planes[1].update(palette.tobytes())
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "pal8"
    encoder.time_base = Fraction(1, 1)
    picture.pts = 0
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(picture), *encoder.encode(None)]))


def test_inverted_masks_mark_what_is_known(pictures: ImageFolderSource, tmp_path: Path):
    save(tmp_path / "known.png", ~hole(2))

    (mask, *_) = masks_of(MaskedSource(pictures, tmp_path / "known.png", invert=True))

    assert np.array_equal(mask, hole(2))


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_dilation_reaches_everything_within_its_radius(
    pictures: ImageFolderSource, mask_folder: Path, radius: int
):
    masks = masks_of(MaskedSource(pictures, mask_folder, dilate=radius))

    for number, mask in enumerate(masks):
        centres = np.argwhere(hole(number))
        for y in range(HEIGHT):
            for x in range(WIDTH):
                nearest = min((y - cy) ** 2 + (x - cx) ** 2 for cy, cx in centres)
                assert mask[y, x] == (nearest <= radius**2)


def test_masks_of_another_size_are_brought_to_the_frames_by_nearest_neighbour(
    pictures: ImageFolderSource, tmp_path: Path
):
    save(tmp_path / "small.png", hole(1, HEIGHT // 2, WIDTH // 2)[: HEIGHT // 2])

    (mask, *_) = masks_of(MaskedSource(pictures, tmp_path / "small.png"))

    expected = hole(1, HEIGHT // 2, WIDTH // 2).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(mask, expected)


def test_fewer_masks_than_frames_are_refused_with_both_counts(
    pictures: ImageFolderSource, mask_folder: Path
):
    (mask_folder / "4.png").unlink()

    with pytest.raises(InputError, match=r"must hold a mask for each of 5 frames, got 4 masks"):
        list(MaskedSource(pictures, mask_folder).frames())


def test_masks_that_are_not_there_are_refused(pictures: ImageFolderSource, tmp_path: Path):
    with pytest.raises(InputError, match=r"masks must exist, got .*nowhere"):
        MaskedSource(pictures, tmp_path / "nowhere").info()
    with pytest.raises(ValueError, match="dilate must be at least 0, got -1"):
        MaskedSource(pictures, tmp_path, dilate=-1)


@pytest.mark.parametrize(("threshold", "is_missing"), [(0.3, True), (0.5, False), (0.6, False)])
def test_the_threshold_is_a_share_of_white(
    tmp_path: Path, pictures: ImageFolderSource, threshold: float, is_missing: bool
) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 4), 102, np.uint8))

    (mask, *_) = masks_of(MaskedSource(pictures, tmp_path / "grey.png", threshold=threshold))

    assert mask.all() == is_missing
