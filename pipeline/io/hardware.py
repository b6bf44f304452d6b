"""Decoding on a graphics card (NVDEC), where that gives the frames that software gives."""

from functools import cache

import av
from av.codec.hwaccel import HWAccel

from pipeline.errors import UsageError
from pipeline.io.decoding import reason

OFF = "off"
AUTO = "auto"
_KIND = "cuda"

# Their standards fix every bit of a picture, and a packet is a frame: what the card gives can be
# compared with what software has listed. MPEG-2 and MPEG-4 leave the rounding of their transform
# open, and of other formats the card gives other levels, or none.
_EXACT_CODECS = frozenset({"h264", "hevc", "vp9"})
_EXACT_FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv420p10le"})


def require_device(hwaccel: str) -> None:
    """Require that a device is there if one is asked for by name.

    Args:
        hwaccel: ``off``, ``auto``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: If it is not.
    """
    if hwaccel in {OFF, AUTO}:
        return
    refusal = device_refusal(_number(hwaccel))
    if refusal is not None:
        msg = (
            f"--hwaccel must name a device that decodes, got {hwaccel}: {refusal}; auto needs none"
        )
        raise UsageError(msg)


def accelerator(hwaccel: str, codec: str, pix_fmt: str) -> HWAccel | None:
    """What a file is opened with to be decoded on a device.

    Args:
        hwaccel: As for :func:`require_device`.
        codec: FFmpeg's name of the decoder.
        pix_fmt: FFmpeg's name of the pixel format that software gives.

    Returns:
        None where software is to decode: nothing else is wanted or there, or its frames could
        differ.
    """
    if hwaccel == OFF or codec not in _EXACT_CODECS or pix_fmt not in _EXACT_FORMATS:
        return None
    number = _number(hwaccel)
    if device_refusal(number) is not None:
        return None
    return HWAccel(_KIND, number, allow_software_fallback=True)


@cache
def device_refusal(number: str | None = None) -> str | None:
    """Why a device does not decode, in words; None if it does. Asked once in a process.

    Args:
        number: Of the device; None for the first.
    """
    try:
        HWAccel(_KIND, number).create(av.Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError, ValueError) as error:
        return reason(error)
    return None


def _number(hwaccel: str) -> str | None:
    """The N of ``cuda:N``."""
    return hwaccel.partition(":")[2] or None
