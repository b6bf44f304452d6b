"""Which pixel format is chosen, and what is said of it."""

import av
import pytest

from pipeline.errors import UsageError
from pipeline.io.pixel_formats import choose_pixel_format, depth_of, format_losses

EVEN, ODD = (64, 64), (64, 65)


@pytest.mark.parametrize(
    ("codec", "source", "depth", "size", "expected"),
    [
        # What the encoder has is kept.
        ("libx264", "yuv420p", 8, EVEN, "yuv420p"),
        ("libx264", "yuv422p", 8, EVEN, "yuv422p"),
        ("libx264", "yuv444p10le", 10, EVEN, "yuv444p10le"),
        ("libx265", "yuv422p12le", 12, EVEN, "yuv422p12le"),
        ("ffv1", "gbrp16le", 16, EVEN, "gbrp16le"),
        # Deprecated names and other orders of the same planes are the same.
        ("libx264", "yuvj420p", 8, EVEN, "yuv420p"),
        ("libx264", "nv12", 8, EVEN, "yuv420p"),
        ("libsvtav1", "p010le", 10, EVEN, "yuv420p10le"),
        ("mjpeg", "yuvj422p", 8, EVEN, "yuv422p"),
        ("h264_nvenc", "yuv420p", 8, EVEN, "yuv420p"),
        ("hevc_nvenc", "yuv420p10le", 10, EVEN, "p010le"),
        # Depth counts before chroma, and neither is stored in vain.
        ("libx264", "yuv420p12le", 12, EVEN, "yuv420p10le"),
        ("libsvtav1", "yuv422p10le", 10, EVEN, "yuv420p10le"),
        ("libvpx-vp9", "yuv422p10le", 10, EVEN, "yuv422p"),
        ("prores_ks", "yuv420p", 8, EVEN, "yuv422p10le"),
        ("prores_ks", "yuv444p12le", 12, EVEN, "yuv444p10le"),
        ("mpeg4", "yuv444p", 8, EVEN, "yuv420p"),
        # RGB keeps its chroma.
        ("libx264", "gbrp", 8, EVEN, "yuv444p"),
        ("libx264", "pal8", 8, EVEN, "yuv444p"),
        ("ffv1", "rgb24", 8, EVEN, "bgr0"),
        ("libx265", "gbrp10le", 10, EVEN, "gbrp10le"),
        # Images have no format to keep, and grey may have become coloured.
        ("libx264", None, 8, EVEN, "yuv420p"),
        ("libx264", None, 16, EVEN, "yuv420p10le"),
        ("libx264", "gray", 8, EVEN, "yuv420p"),
        ("ffv1", None, 8, EVEN, "bgr0"),
        ("ffv1", None, 16, EVEN, "gbrp16le"),
        # A palette is nothing to choose.
        ("png", "yuv420p", 8, EVEN, "rgb24"),
        # Odd sides.
        ("libvpx", "yuv420p", 8, ODD, "yuv420p"),
        ("libx264", "yuv420p", 8, ODD, "yuv444p"),
        ("libx265", "yuv420p10le", 10, ODD, "yuv444p10le"),
        ("libx264", "yuv420p", 8, (65, 64), "yuv422p"),
        ("libvpx-vp9", "yuv420p", 8, ODD, "yuv420p"),
        ("libsvtav1", "yuv420p", 8, ODD, "yuv420p"),
        ("prores_ks", "yuv420p", 8, ODD, "yuv444p10le"),
    ],
)
def test_the_encoder_gets_what_loses_least(
    codec: str, source: str | None, depth: int, size: tuple[int, int], expected: str
):
    assert choose_pixel_format(codec, None, size, source, depth) == expected


def test_what_is_asked_for_is_taken_or_refused():
    assert choose_pixel_format("libx264", "yuv422p10", EVEN) == "yuv422p10le"
    assert choose_pixel_format("libvpx-vp9", "yuv420p", ODD) == "yuv420p"
    with pytest.raises(UsageError, match=r"pix_fmt must be one of yuv420p, .* for libsvtav1"):
        choose_pixel_format("libsvtav1", "yuv444p", EVEN)
    with pytest.raises(UsageError, match="sides divisible by 2 and 2 for yuv420p, got 65x64"):
        choose_pixel_format("libx264", "yuv420p", ODD)


@pytest.mark.parametrize(
    ("source", "depth", "chosen", "words"),
    [
        ("yuv420p", 8, "yuv420p", []),
        ("yuv420p", 8, "yuv444p10le", []),
        ("yuv420p10le", 10, "yuv420p", ["10 bits become 8"]),
        ("yuv444p", 8, "yuv420p", ["chroma of yuv444p becomes that of yuv420p"]),
        ("rgb24", 8, "yuv444p", []),
        ("yuva420p", 8, "yuv420p", ["alpha of yuva420p is left out"]),
        (None, 16, "yuv420p10le", ["16 bits become 10"]),
    ],
)
def test_what_is_lost_is_named(source: str | None, depth: int, chosen: str, words: list[str]):
    assert format_losses(source, depth, chosen) == words


@pytest.mark.parametrize(
    ("name", "depth"),
    [("yuv420p", 8), ("p010le", 10), ("rgb565le", 8), ("gray16le", 16), ("gbrpf32le", 16)],
)
def test_depth_is_that_of_the_deepest_component_between_eight_and_sixteen(name: str, depth: int):
    assert depth_of(av.VideoFormat(name)) == depth
