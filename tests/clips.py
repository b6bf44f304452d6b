"""Small clips, written with PyAV alone so that they do not depend on the code under test."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

Planes = Callable[[int, int, int], Sequence[np.ndarray]]
MakeClip = Callable[..., Path]


def moving_planes(number: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth 4:4:4 planes inside the limited range that differ from frame to frame."""
    y, x = np.mgrid[0:height, 0:width]
    luma = 60 + (3 * x + 5 * y + 11 * number) % 120
    return [luma, 110 + (x + number) % 30, 118 + (y + 2 * number) % 20]


def fill(picture: av.VideoFrame, planes: Sequence[np.ndarray]) -> None:
    """Copy planes into a picture, subsampling by taking every other sample where it has to."""
    for plane, values in zip(picture.planes, planes, strict=False):
        step_y = -(-values.shape[0] // plane.height)
        step_x = -(-values.shape[1] // plane.width)
        small = values[::step_y, ::step_x][: plane.height, : plane.width]
        kind = np.uint8 if picture.format.components[0].bits == 8 else np.uint16
        rows = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), dtype=kind)
        rows[:, : plane.width] = small
        plane.update(rows.tobytes())


def write_clip(
    path: Path,
    *,
    pts: Iterable[int] = range(8),
    time_base: Fraction = Fraction(1, 25),
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (32, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    color: tuple[int, int] = (0, 2),
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    audio: tuple[str, int] | None = None,
    planes: Planes = moving_planes,
    container_options: dict[str, str] | None = None,
) -> Path:
    """A clip whose every property the test chooses; ``audio`` is a codec and a packet count."""
    height, width = size
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        # The same bytes on machines with more processors: encoders cut pictures up among threads.
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = stream.time_base = time_base
        stream.codec_context.color_range, stream.codec_context.colorspace = color
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        sound: Any = None
        if audio is not None:
            sound = container.add_stream(audio[0], rate=48000)
        for number, stamp in enumerate(pts):
            picture = av.VideoFrame(width, height, pix_fmt)
            fill(picture, planes(number, height, width))
            picture.pts, picture.time_base = stamp, time_base
            container.mux(stream.encode(picture))
        if audio is not None:
            for number in range(audio[1]):
                # A saw of whole numbers, the same on every processor.
                saw = (np.arange(2 * 1024) // 2 * (300 + 31 * number) % 40000 - 20000)[None]
                block = av.AudioFrame.from_ndarray(saw.astype(np.int16), "s16", "stereo")
                block.sample_rate, block.pts = 48000, number * 1024
                block.time_base = Fraction(1, 48000)
                container.mux(sound.encode(block))
            container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


def read_back(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    """Seconds and raw first planes of the first video stream, by a plain decoding loop."""
    times, lumas = [], []
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            times.append(picture.pts * picture.time_base)
            plane = picture.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            lumas.append(rows[:, : plane.width].copy())
    return times, lumas


def sound_packets(path: Path) -> list[list[tuple[Fraction, bytes]]]:
    """Seconds and payload of every packet of every sound track."""
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    tracks = []
    for number in range(count):
        with av.open(str(path)) as container:
            packets = container.demux(container.streams.audio[number])
            tracks.append([(p.pts * p.time_base, bytes(p)) for p in packets if p.size])
    return tracks


def write_song(path: Path) -> None:
    """A file of sound with a picture on its cover, and no video."""
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound = container.add_stream("aac", rate=48000)
        picture = av.VideoFrame(32, 32, "yuvj420p")
        picture.pts = 0
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        block = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        block.sample_rate = 48000
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
