"""What the numbers of a picture mean: as decoded pictures say it, and as an output can say it."""

from dataclasses import replace

import av

from pipeline.io.endpoint import ColorTags
from pipeline.io.yuv import matrix_in_use

UNSPECIFIED_RANGE = 0
LIMITED_RANGE = 1
FULL_RANGE = 2
RGB_MATRIX = 0
UNSPECIFIED_MATRIX = 2
BT601_MATRIX = 5

# FFmpeg's names of codecs whose own stream states range and matrix, whatever contains it.
_SELF_DESCRIBING = frozenset({"av1", "h264", "hevc", "vp9"})
# Muxers that state both for any codec.
_DESCRIBING = frozenset({"matroska", "webm"})
_UNSPECIFIED = 2


def color_tags(frame: av.VideoFrame) -> ColorTags:
    """The colour tags that a decoded picture carries."""
    return ColorTags(
        range=int(frame.color_range),
        matrix=int(frame.colorspace),
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
    )


def range_in_use(color_range: int, pix_fmt: str) -> int:
    """The tagged range; unspecified is limited, but full for grey and FFmpeg's ``yuvj`` formats."""
    if color_range in {LIMITED_RANGE, FULL_RANGE}:
        return color_range
    is_full = pix_fmt.startswith(("gray", "yuvj", "ya", "mono"))
    return FULL_RANGE if is_full else LIMITED_RANGE


def output_color(
    color: ColorTags, pix_fmt: str, height: int, codec: str, container: str
) -> ColorTags:
    """The colour tags to write, which are also those to convert with.

    They are those of the input wherever the output can say them. Where it cannot, pictures are
    written as everybody reads them who is told nothing: colours are kept, not numbers.

    Args:
        color: Colour tags of the input.
        pix_fmt: Pixel format of the encoder.
        height: Of the output, in pixels.
        codec: FFmpeg's name of the codec, not of one encoder of it.
        container: FFmpeg's name of the muxer.
    """
    if av.VideoFormat(pix_fmt).is_rgb:
        return replace(color, range=FULL_RANGE, matrix=RGB_MATRIX)
    if codec == "mjpeg":
        # What JPEG means by its numbers is not for the file to say (ITU-T T.871).
        return replace(color, range=FULL_RANGE, matrix=BT601_MATRIX)
    if color.matrix == RGB_MATRIX:
        matrix = matrix_in_use(UNSPECIFIED_MATRIX, height)
        color = replace(color, range=LIMITED_RANGE, matrix=matrix)
    if pix_fmt.startswith("yuvj"):
        color = replace(color, range=FULL_RANGE)
    if codec in _SELF_DESCRIBING:
        # H.264 and HEVC decode grey as luma with chroma, of which limited range is assumed.
        used = range_in_use(color.range, pix_fmt)
        is_assumed = color.range == UNSPECIFIED_RANGE and used == LIMITED_RANGE
        return color if is_assumed else replace(color, range=used)
    return _sayable(color, pix_fmt, height, codec, container)


def _sayable(color: ColorTags, pix_fmt: str, height: int, codec: str, container: str) -> ColorTags:
    """The tags that a container can say of a codec whose own stream does not."""
    # FFmpeg writes the colour atom only if it can fill it; that of QuickTime has no range.
    is_whole = _UNSPECIFIED not in (color.matrix, color.primaries, color.transfer)
    tells_range = container in _DESCRIBING or (container == "mp4" and is_whole)
    tells_matrix = tells_range or (container == "mov" and is_whole)
    if codec == "prores":
        # Limited range by definition, and the matrix in its own header.
        tells_range, tells_matrix = False, True
    assumed_range = range_in_use(UNSPECIFIED_RANGE, pix_fmt)
    if not tells_range and range_in_use(color.range, pix_fmt) != assumed_range:
        color = replace(color, range=assumed_range)
    used, assumed = (matrix_in_use(matrix, height) for matrix in (color.matrix, UNSPECIFIED_MATRIX))
    if not tells_matrix and used != assumed:
        color = replace(color, matrix=UNSPECIFIED_MATRIX)
    return color
