"""OpenEXR images: linear light on file, the curve of a display in memory.

Models are made for pictures as displays show them, so that samples are brought to the curve of
sRGB (IEC 61966-2-1) when they are read, and back when they are written. What is brighter than
white is clamped.
"""

import functools
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray
from torch import Tensor

log = logging.getLogger(__name__)

EXR_SUFFIX = ".exr"
_FLOATS: dict[str, np.dtype[Any]] = {"f16le": np.dtype("<f2"), "f32le": np.dtype("<f4")}
# Planes of FFmpeg's formats in the order of red, green, blue and alpha.
_PLANES = {1: [0], 3: [2, 0, 1], 4: [2, 0, 1, 3]}


def read_exr(path: Path, data: bytes) -> NDArray[np.uint16] | None:
    """The levels that a display would be sent.

    Args:
        path: What messages call the file.
        data: Its content.

    Returns:
        ``(H, W, C)``, grey, RGB or RGB with alpha, 16 bits; None if it cannot be decoded.
    """
    decoder = _codec("r")
    try:
        picture = next(iter(decoder.decode(av.Packet(data)) + decoder.decode(None)), None)
    except av.FFmpegError:
        return None
    kind = None if picture is None else _FLOATS.get(picture.format.name[-5:])
    if picture is None or kind is None:
        return None
    planes = [
        np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width]
        for plane in picture.planes
    ]
    light = np.stack([planes[index] for index in _PLANES[len(planes)]], axis=-1)
    light = np.nan_to_num(light.astype(np.float32), posinf=np.inf, neginf=0.0)
    if light.max() > 1.0:
        _say_clamped(path.parent)
    light = light.clip(0.0, 1.0)
    light[..., :3] = _to_display(light[..., :3])
    return np.rint(light * float(np.iinfo(np.uint16).max)).astype(np.uint16)


def exr_of(image: Tensor) -> bytes:
    """A file of half floats, ZIP-compressed.

    Args:
        image: ``(3, H, W)`` or ``(1, H, W)`` float32 in ``[0, 1]``.
    """
    levels = image.detach().to("cpu", torch.float32).clamp(0.0, 1.0).expand(3, -1, -1)
    # FFmpeg would cut what a half float has no room for.
    light = _to_light(levels.numpy()).astype(np.float16).astype(np.float32)
    _, height, width = light.shape
    encoder = _codec("w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "gbrpf32le"
    encoder.time_base = Fraction(1)
    encoder.options = {"format": "half", "compression": "zip16"}
    picture = av.VideoFrame(width, height, "gbrpf32le")
    for plane, samples in zip(picture.planes, light[[1, 2, 0]], strict=True):
        rows = np.zeros((height, plane.line_size // 4), dtype="<f4")
        rows[:, :width] = samples
        plane.update(rows.tobytes())
    return b"".join(bytes(packet) for packet in encoder.encode(picture) + encoder.encode(None))


def _codec(mode: Literal["r", "w"]) -> VideoCodecContext:
    return av.CodecContext.create("exr", mode)


@functools.cache
def _say_clamped(folder: Path) -> None:
    log.warning("%s: light above 1 is clamped to white", folder)


def _to_display(light: NDArray[np.float32]) -> NDArray[np.float32]:
    curved = 1.055 * np.power(light, 1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, curved).astype(np.float32)


def _to_light(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    curved = np.power((levels + 0.055) / 1.055, 2.4)
    return np.where(levels <= 0.04045, levels / 12.92, curved).astype(np.float32)
