"""What the encoders of FFmpeg call our options, and whether they take what they are given."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import av
import cv2
from av.codec.codec import Capabilities
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from pipeline.errors import UsageError
from pipeline.io.color_tags import FULL_RANGE
from pipeline.io.pixel_formats import choose_pixel_format, pixel_formats

# Frame threads change what x264, x265 and others make of a picture, and so would a machine with
# another number of cores. Segments of one video must not differ by where they were encoded.
ENCODER_THREADS = 4

# Options that choose the quality themselves, so that no constant quality is wanted.
_RATE_CONTROLS = frozenset({"b", "cq", "crf", "global_quality", "lossless", "qmax", "qp"})
_TRIAL_SIDE = 256
_X264_PARAMETERS = "x264-params"
_WITHOUT_AVX_512 = "asm=MMX2,SSE2,SSSE3,SSE42,AVX,FMA3,BMI2,AVX2"
# OpenCV's number of the feature, which its Python module has no name for.
_AVX_512 = 13
_SLICED_SIDE = 16


@dataclass(frozen=True, slots=True)
class Encoder:
    """How one encoder is told what users ask for.

    Attributes:
        quality: The options that together are constant quality; empty if it has none.
        default: Constant quality where none is chosen: hard to tell from the input.
        with_quality: What lets that quality decide alone.
        preset: The option for ``--preset``; None if it has none.
        instead: What to type in place of an option that it has not got.
        parameters: The option that hands parameters through to the library, and what is put
            before those of the user.
        has_own_threads: True if threads never change a bit, so that it may take all cores.
        smallest_side: Of pictures, in pixels.
    """

    quality: tuple[str, ...] = ()
    default: int = 18
    with_quality: Mapping[str, str] = field(default_factory=dict)
    preset: str | None = "preset"
    instead: str = ""
    parameters: tuple[str, str] | None = None
    has_own_threads: bool = False
    smallest_side: int = 1


# A rate of zero lets the constant rate factor decide alone.
_NO_RATE = {"b": "0"}
_NVENC = Encoder(("cq",), 19, {"b": "0", "rc": "vbr"})
_QUANTISER = Encoder(("qmin", "qmax"), 2, preset=None)

_ENCODERS = {
    "av1_nvenc": _NVENC,
    "ffv1": Encoder(preset=None, instead="it is lossless", has_own_threads=True),
    "h264_nvenc": _NVENC,
    "hevc_nvenc": _NVENC,
    "libsvtav1": Encoder(("crf",), 20, has_own_threads=True),
    "libvpx": Encoder(("crf",), 10, {"b": "100000000"}, preset="cpu-used"),
    "libvpx-vp9": Encoder(("crf",), 20, _NO_RATE, preset="cpu-used", has_own_threads=True),
    "libx264": Encoder(("crf",), 18, _NO_RATE),
    "libx265": Encoder(
        ("crf",),
        18,
        _NO_RATE,
        # Its note on its own settings would hold the number of cores, and is part of the headers
        # that all segments must share.
        parameters=("x265-params", "log-level=error:info=0"),
        # Pictures of a single coding tree unit make it write past its buffers: output differs from
        # run to run, and sometimes the process dies.
        smallest_side=65,
    ),
    "mjpeg": _QUANTISER,
    "mpeg4": _QUANTISER,
    "prores_ks": Encoder(
        preset="profile",
        instead="--preset proxy, lt, standard, hq, 4444 or 4444xq chooses its quality",
        has_own_threads=True,
    ),
}


def encoder_options(
    codec: str, crf: int | None, preset: str | None, options: Mapping[str, str]
) -> dict[str, str]:
    """The options of an encoder by its own names.

    Args:
        codec: Name of the encoder in FFmpeg.
        crf: Constant quality on the encoder's own scale, less is better; None for a default,
            unless ``options`` choose a rate or a quality.
        preset: Speed of the encoder on its own scale; None for its default.
        options: Passed as they are; they win.

    Raises:
        UsageError: If the encoder has no constant quality, or no preset.
    """
    encoder = _ENCODERS.get(codec, Encoder())
    chosen: dict[str, str] = {}
    if not encoder.quality:
        _require_none("crf", crf, codec, encoder)
    elif crf is not None or not _RATE_CONTROLS & options.keys():
        value = encoder.default if crf is None else crf
        chosen |= encoder.with_quality
        chosen |= dict.fromkeys(encoder.quality, str(value))
    if encoder.preset is None:
        _require_none("preset", preset, codec, encoder)
    elif preset is not None:
        chosen[encoder.preset] = preset
    chosen |= options
    if encoder.parameters is not None:
        name, ours = encoder.parameters
        chosen[name] = ":".join(part for part in (ours, options.get(name)) if part)
    return chosen


def options_for_size(codec: str, height: int, width: int) -> dict[str, str]:
    """What else an encoder must be told of pictures of a size.

    Raises:
        UsageError: If a side is so short that the encoder would not survive it.
    """
    least = _ENCODERS.get(codec, Encoder()).smallest_side
    if min(height, width) < least:
        msg = (
            f"frames must have sides of at least {least} pixels for {codec}, got {width}x{height}; "
            f"libx264 takes any"
        )
        raise UsageError(msg)
    # FFV1 gives up where it cannot cut a picture into slices.
    is_tiny = codec == "ffv1" and min(height, width) < _SLICED_SIDE
    return {"slices": "1"} if is_tiny else {}


def options_for_machine(codec: str, options: Mapping[str, str]) -> dict[str, str]:
    """What makes an encoder give the same bits on every machine, and each time on this one.

    With AVX-512, x264 reads what nobody has written when it plans the quality of small pictures:
    of 40 encodings of the same noise several differed. Without, none did, and machines that do not
    have it agree.

    Args:
        codec: Name of the encoder in FFmpeg.
        options: Its options; what they say of instructions wins.
    """
    given = options.get(_X264_PARAMETERS, "")
    if codec != "libx264" or "asm=" in given or not cv2.checkHardwareSupport(_AVX_512):
        return {}
    return {_X264_PARAMETERS: ":".join(part for part in (given, _WITHOUT_AVX_512) if part)}


def threads_of(codec: str, options: Mapping[str, str]) -> int:
    """How many threads an encoder gets; 0 for as many as it likes."""
    is_free = "threads" in options or _ENCODERS.get(codec, Encoder()).has_own_threads
    return 0 if is_free else ENCODER_THREADS


def quieten(codec: str) -> None:
    """Keep an encoder from writing its own banner to the user's terminal."""
    if codec == "libsvtav1":
        # Errors only. There is no other way to tell it.
        os.environ.setdefault("SVT_LOG", "1")


def require_accepted(codec: str, pix_fmt: str | None, options: Mapping[str, str]) -> None:
    """Require that an encoder opens with its options, before anything else is done.

    Encoders of graphics cards are not tried: the card may be in another machine.

    Args:
        codec: Name of the encoder in FFmpeg.
        pix_fmt: Pixel format that was asked for, or None.
        options: As :func:`encoder_options` gives them.

    Raises:
        UsageError: If there is no such encoder, or it refuses an option or its value.
    """
    pixel_formats(codec)
    if _needs_card(codec):
        return
    encoder = _trial(codec, pix_fmt, options)
    quieten(codec)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        # Captured, so that it is said once: in the error.
        with av.logging.Capture():
            encoder.open()
    except (av.FFmpegError, ValueError) as error:
        given = " ".join(f"{key}={value}" for key, value in options.items())
        msg = (
            f"{codec} must be given options that it takes, got {given or 'none'} for "
            f"{encoder.pix_fmt}: {_reason(error)}"
        )
        raise UsageError(msg) from error
    finally:
        av.logging.set_level(level)
    require_all_taken(codec, encoder.options)


def require_readable(codec: str, pix_fmt: str, options: Mapping[str, str], muxer: str) -> None:
    """Require that what an encoder makes can be read back, by one picture in a file in memory.

    QuickTime for one takes raw pictures of any format, and has no name for most. Encoders that are
    listed here are known to be read back, and what does not encode so small a picture is not tried.

    Args:
        codec: Name of the encoder in FFmpeg.
        pix_fmt: Pixel format.
        options: Its options.
        muxer: FFmpeg's name of the kind of file.

    Raises:
        UsageError: If it cannot be.
    """
    if codec in _ENCODERS or _needs_card(codec):
        return
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=muxer) as container:
            stream = cast("VideoStream", container.add_stream(codec, 25, options=dict(options)))
            stream.width = stream.height = _TRIAL_SIDE
            stream.pix_fmt = pix_fmt
            picture = av.VideoFrame(_TRIAL_SIDE, _TRIAL_SIDE, pix_fmt)
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux([*stream.encode(picture), *stream.encode(None)])
    except (av.FFmpegError, ValueError):
        return
    file.seek(0)
    if not shows_picture(file):
        msg = f"codec must be one that can be read from {muxer}, got {codec} with {pix_fmt}"
        raise UsageError(msg)


def shows_picture(file: io.BytesIO | str) -> bool:
    """Whether the first picture of a video can be decoded. True also where there is no decoder."""
    try:
        with av.open(file, "r", metadata_errors="replace") as container:
            stream = container.streams.video[0]
            return stream.codec_context is None or any(True for _ in container.decode(stream))
    except (av.FFmpegError, IndexError):
        return False


def card_refusal(codec: str) -> str | None:
    """Why the graphics card that an encoder needs does not encode; None if it does, or none is.

    Args:
        codec: Name of an encoder that FFmpeg has.
    """
    if not _needs_card(codec):
        return None
    try:
        _trial(codec, None, {}).open()
    except av.FFmpegError as error:
        return str(error.strerror)
    return None


def refusal(codec: str, why: str) -> str:
    """An encoder and why it fails, with what to do where its graphics card may be the reason."""
    hint = "; it needs a graphics card that encodes, libx264 needs none"
    return f"{codec}: {why}{hint if _needs_card(codec) else ''}"


def require_all_taken(codec: str, left_over: Mapping[str, str]) -> None:
    """Require that an encoder knew every option.

    Args:
        codec: Name of the encoder.
        left_over: The options that it did not take when it was opened.

    Raises:
        UsageError: If there are any.
    """
    if left_over:
        msg = f"options must be options of {codec}, got {', '.join(sorted(left_over))}"
        raise UsageError(msg)


def _trial(codec: str, pix_fmt: str | None, options: Mapping[str, str]) -> VideoCodecContext:
    """An encoder of small pictures, not opened yet."""
    size = (_TRIAL_SIDE, _TRIAL_SIDE)
    encoder = cast("VideoCodecContext", av.CodecContext.create(codec, "w"))
    encoder.pix_fmt = choose_pixel_format(codec, pix_fmt, size)
    encoder.height, encoder.width = size
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.options = dict(options)
    if encoder.codec.canonical_name == "mjpeg":
        encoder.color_range = FULL_RANGE
    return encoder


def _needs_card(codec: str) -> bool:
    return bool(av.Codec(codec, "w").capabilities & Capabilities.hardware)


def _require_none(name: str, value: object, codec: str, encoder: Encoder) -> None:
    if value is not None:
        hint = f"; {encoder.instead}" if encoder.instead else ""
        msg = f"{name} must be left out for {codec}, which has none, got {value}{hint}"
        raise UsageError(msg)


def _reason(error: Exception) -> str:
    """What the encoder said when it refused, which names the option; otherwise FFmpeg's words."""
    said = getattr(error, "log", None)
    return str(said[2]).strip() if said else str(getattr(error, "strerror", None) or error)
