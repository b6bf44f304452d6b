"""Pixel formats: which one an encoder is given, and what that costs."""

import av
from av.codec.codec import UnknownCodecError

from pipeline.errors import UsageError

PORTABLE_FORMAT = "yuv420p"
_LARGEST_DEPTH = 16

# Encoders tried when telling which ones this build of FFmpeg has.
_KNOWN_ENCODERS = (
    "libx264",
    "libx265",
    "libsvtav1",
    "libvpx-vp9",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "prores_ks",
    "dnxhd",
    "ffv1",
    "mjpeg",
    "mpeg4",
)

# Encoders that store chroma of half the size, rounded up, where a side is odd. The others refuse
# such sides, cut them, or as ProRes leave the last column of chroma black.
_TAKES_ODD_SIDES = frozenset({"ffv1", "libsvtav1", "libvpx", "libvpx-vp9", "mjpeg", "mpeg4"})

# Big-endian, floating point, and levels in the most significant bits.
_STRANGE_ENDINGS = ("be", "f16le", "f32le", "msble")


def depth_of(layout: av.VideoFormat) -> int:
    """Bits of a level, from 8 to 16; formats of floating point are brought to 16."""
    return min(_LARGEST_DEPTH, max(8, *(component.bits for component in layout.components)))


def pixel_formats(codec: str) -> list[str]:
    """The pixel formats that an encoder takes, best first.

    Raises:
        UsageError: If there is no such encoder of video.
    """
    formats = _pixel_formats(codec)
    if formats is None:
        possible = ", ".join(name for name in _KNOWN_ENCODERS if _pixel_formats(name) is not None)
        msg = f"codec must be a video encoder such as {possible}, got {codec!r}"
        raise UsageError(msg)
    return formats


def choose_pixel_format(
    codec: str,
    wanted: str | None,
    size: tuple[int, int],
    source: str | None = None,
    depth: int = 8,
) -> str:
    """The pixel format to encode with.

    Args:
        codec: Name of the encoder.
        wanted: What the user asks for, or None.
        size: Height and width of the pictures.
        source: Pixel format of the input; None for images, which have none to keep.
        depth: Bits of the input's levels.

    Returns:
        ``wanted``; otherwise the format of the input, or that of the encoder's which loses least
        of it: depth before chroma. Images and grey become 4:2:0, which every player shows, but
        keep all their chroma where the codec is lossless.

    Raises:
        UsageError: If the encoder has not got ``wanted``, or no format for these sides.
    """
    formats = pixel_formats(codec)
    if wanted is not None:
        name = _layout(wanted).name
        if formats and name not in formats:
            msg = f"pix_fmt must be one of {', '.join(formats)} for {codec}, got {wanted!r}"
            raise UsageError(msg)
        _require_sides(codec, name, size)
        return name
    kept = av.VideoFormat(_format_to_keep(codec, source))
    possible = [name for name in formats if _is_plain(name)]
    fitting = [name for name in possible if _fits(codec, name, size)]
    if not fitting:
        _require_sides(codec, (possible or formats or [PORTABLE_FORMAT])[0], size)
        return (possible or formats or [PORTABLE_FORMAT])[0]
    return min(fitting, key=lambda name: _cost(av.VideoFormat(name), kept, depth))


def format_losses(source: str | None, depth: int, chosen: str) -> list[str]:
    """What of the input a pixel format cannot hold, in words.

    Args:
        source: Pixel format of the input; None for images.
        depth: Bits of the input's levels.
        chosen: Pixel format of the output.
    """
    losses = []
    layout = av.VideoFormat(chosen)
    if depth_of(layout) < depth:
        losses.append(f"{depth} bits become {depth_of(layout)}")
    if source is not None:
        kept = av.VideoFormat(source)
        if not _is_grey(source) and _chroma_lost(layout, kept):
            losses.append(f"chroma of {source} becomes that of {chosen}")
        if _has_alpha(kept):
            losses.append(f"alpha of {source} is left out")
    return losses


def _format_to_keep(codec: str, source: str | None) -> str:
    """What the choice goes by where there is no format to keep: all chroma, or that of players."""
    if source is not None and not _is_grey(source):
        return source
    encoder = av.Codec(codec, "w")
    return "gbrp" if encoder.lossless and not encoder.lossy else PORTABLE_FORMAT


def _cost(layout: av.VideoFormat, kept: av.VideoFormat, depth: int) -> tuple[int, ...]:
    """What is lost, then what is stored in vain; less is better."""
    own_depth = depth_of(layout)
    return (
        max(0, depth - own_depth),
        _chroma_lost(layout, kept),
        int(layout.is_rgb != (kept.is_rgb or kept.has_palette)),
        _chroma_lost(kept, layout),
        own_depth,
    )


def _chroma_lost(layout: av.VideoFormat, kept: av.VideoFormat) -> int:
    """How many of the two directions have less chroma in ``layout`` than in ``kept``."""
    pairs = zip(_chroma_steps(layout), _chroma_steps(kept), strict=True)
    return sum(step > kept_step for step, kept_step in pairs)


def _chroma_steps(layout: av.VideoFormat) -> tuple[int, int]:
    """How many pixels, down and across, share one sample of chroma."""
    # Seen on a length that all subsamplings divide.
    return 8 // layout.chroma_height(8), 8 // layout.chroma_width(8)


def _is_grey(pix_fmt: str) -> bool:
    return pix_fmt.startswith(("gray", "mono", "ya"))


def _has_alpha(layout: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in layout.components)


def _is_plain(name: str) -> bool:
    """Whether a format is one to choose unasked: whole numbers for colours, and no alpha."""
    layout = av.VideoFormat(name)
    if _is_grey(name) or name.startswith("yuvj") or name.endswith(_STRANGE_ENDINGS):
        return False
    if layout.has_palette:
        return False
    bits = [component.bits for component in layout.components]
    return bool(bits) and min(bits) >= 8 and not _has_alpha(layout)


def _fits(codec: str, name: str, size: tuple[int, int]) -> bool:
    if codec in _TAKES_ODD_SIDES:
        return True
    steps = _chroma_steps(av.VideoFormat(name))
    return all(side % step == 0 for side, step in zip(size, steps, strict=True))


def _require_sides(codec: str, name: str, size: tuple[int, int]) -> None:
    if not _fits(codec, name, size):
        down, across = _chroma_steps(av.VideoFormat(name))
        msg = (
            f"frames must have sides divisible by {across} and {down} for {name}, got "
            f"{size[1]}x{size[0]}"
        )
        raise UsageError(msg)


def _layout(name: str) -> av.VideoFormat:
    try:
        return av.VideoFormat(name)
    except ValueError as error:
        msg = f"pix_fmt must be a pixel format of FFmpeg, got {name!r}"
        raise UsageError(msg) from error


def _pixel_formats(codec: str) -> list[str] | None:
    try:
        encoder = av.Codec(codec, "w")
    except UnknownCodecError:
        return None
    if encoder.type != "video":
        return None
    return [pixel_format.name for pixel_format in encoder.video_formats or []]
