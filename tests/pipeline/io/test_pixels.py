"""Decoded pictures to images and back, format by format, against the standards by hand."""

from collections.abc import Sequence

import av
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pipeline.io.endpoint import ColorTags
from pipeline.io.pixels import ImageReader, ImageWriter

YUV = (
    "yuv420p",
    "yuv422p",
    "yuv440p",
    "yuv444p",
    "yuv411p",
    "yuv410p",
    "nv12",
    "nv16",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuv420p12le",
    "yuv444p12le",
    "yuv444p16le",
    "p010le",
    "yuva420p",
)
RGB = ("rgb24", "bgr0", "bgra", "gbrp", "gbrp10le", "gbrp12le", "gbrp16le", "rgb48le")
GREY = ("gray", "gray10le", "gray16le")


def flat(pix_fmt: str, levels: Sequence[int], size: tuple[int, int] = (16, 32)) -> av.VideoFrame:
    """A picture of one colour; ``levels`` by component, at the depth of the format."""
    height, width = size
    picture = av.VideoFrame(width, height, pix_fmt)
    components = list(zip(picture.format.components, levels, strict=False))
    for index, plane in enumerate(picture.planes):
        parts = [level for component, level in components if component.plane == index]
        kind = np.uint8 if picture.format.components[0].bits == 8 else np.dtype("<u2")
        row = np.zeros(plane.line_size // np.dtype(kind).itemsize, dtype=kind)
        # Levels of p010 and its kin stand in the upper bits.
        shift = 6 if pix_fmt == "p010le" else 0
        count = len(parts) + (pix_fmt in {"bgr0", "rgb0"})
        if pix_fmt.startswith("bgr"):
            parts = parts[2::-1] + parts[3:]
        for place, level in enumerate(parts):
            row[place::count] = level << shift
        plane.update(row.tobytes() * plane.height)
    return picture


def by_hand(y: int, cb: int, cr: int, color: ColorTags, bits: int) -> list[float]:
    """H.273: levels to R'G'B'."""
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[color.matrix]
    one = 2 ** (bits - 8)
    if color.range == 2:
        luma, blue, red = (v / (2**bits - 1) for v in (y, cb - 128 * one, cr - 128 * one))
    else:
        luma = (y - 16 * one) / (219 * one)
        blue, red = ((v - 128 * one) / (224 * one) for v in (cb, cr))
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return [r, (luma - kr * r - kb * b) / (1 - kr - kb), b]


@pytest.mark.parametrize("pix_fmt", YUV)
@pytest.mark.parametrize("tags", [(1, 1), (2, 1), (1, 6), (2, 6), (1, 9)])
def test_every_format_of_luma_and_chroma_is_read_as_the_standard_says(
    pix_fmt: str, tags: tuple[int, int]
):
    color = ColorTags(*tags)
    bits = av.VideoFormat(pix_fmt).components[0].bits
    # Levels that use the lowest bit, so that a step through fewer bits is seen.
    levels = [(v << (bits - 8)) + (bits > 8) for v in (140, 110, 150)]

    image = ImageReader(color)(flat(pix_fmt, [*levels, 255]))

    assert image.shape == (3, 16, 32)
    expected = torch.tensor(by_hand(*levels, color, bits)).view(3, 1, 1).expand(3, 16, 32)
    assert_close(image, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("pix_fmt", RGB)
def test_every_format_of_rgb_is_read_at_its_full_depth(pix_fmt: str):
    largest = 2 ** av.VideoFormat(pix_fmt).components[0].bits - 1
    # Components are red, green, blue, wherever they lie.
    levels = [3 * largest // 4 - 1, largest // 2, largest // 4 + 1]
    picture = flat(pix_fmt, [*levels, largest])
    expected = [level / largest for level in levels]

    image = ImageReader(ColorTags(0, 2))(picture)

    assert_close(image.mean(dim=(1, 2)), torch.tensor(expected), atol=1.6e-5, rtol=0)


@pytest.mark.parametrize("pix_fmt", GREY)
@pytest.mark.parametrize(("tag", "is_full"), [(0, True), (1, False), (2, True)])
def test_grey_is_full_range_unless_it_says_otherwise(pix_fmt: str, tag: int, is_full: bool):
    bits = av.VideoFormat(pix_fmt).components[0].bits
    level = (140 << (bits - 8)) + (bits > 8)

    image = ImageReader(ColorTags(tag, 2))(flat(pix_fmt, [level]))

    one = 2 ** (bits - 8)
    value = level / (2**bits - 1) if is_full else (level - 16 * one) / (219 * one)
    assert_close(image, torch.full((3, 16, 32), value), atol=2e-5, rtol=0)


def test_a_palette_is_looked_up():
    indices = np.zeros((16, 32), dtype=np.uint8)
    indices[:, 16:] = 7
    palette = np.zeros((256, 4), dtype=np.uint8)
    # Alpha, red, green, blue.
    palette[0], palette[7] = (255, 255, 128, 0), (255, 0, 64, 255)

    image = ImageReader(ColorTags())(av.VideoFrame.from_ndarray((indices, palette), "pal8"))

    expected = torch.from_numpy(palette[indices][..., 1:]).permute(2, 0, 1) / 255
    assert_close(image, expected)


def ramps(height: int = 32, width: int = 64) -> Tensor:
    """A smooth image without saturated colours."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack((0.3 + 0.4 * x, 0.35 + 0.3 * y, 0.6 - 0.2 * x * y))


@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv444p12le", "yuv444p16le", "gbrp10le"])
@pytest.mark.parametrize("color_range", [1, 2])
def test_ten_bits_and_more_are_written_and_read_within_half_a_level(pix_fmt: str, color_range: int):
    bits = av.VideoFormat(pix_fmt).components[0].bits
    color = ColorTags(color_range, 1)

    picture = ImageWriter(pix_fmt, color)(ramps())
    image = ImageReader(color)(picture)

    # A rounded level of chroma moves blue by 1.8556 / 2 of a level, one of luma by a half.
    assert (image - ramps()).abs().max() < 1.6 * 256 / 219 / (2**bits - 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (5, 7), (17, 33)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "bgr0", "nv12"])
def test_odd_sizes_pass_through_every_subsampling(pix_fmt: str, size: tuple[int, int]):
    image = torch.full((3, *size), 0.5)
    color = ColorTags(1, 1)

    picture = ImageWriter(pix_fmt, color)(image)

    assert (picture.height, picture.width) == size
    assert_close(ImageReader(color)(picture), image, atol=0.01, rtol=0)
