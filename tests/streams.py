"""Sources and sinks for tests: frames in lists, faults on cue, pictures by formula."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operators.base import TranslatorTraits
from operators.frame import Frame
from pipeline.io.endpoint import Sink, StreamInfo

TIME_BASE = Fraction(1, 90_000)


def textured(height: int, width: int, seed: int = 0) -> Tensor:
    """A picture with detail at several scales, ``(3, H, W)`` in eight-bit levels."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 3, height, width)
    for cells, strength in ((5, 0.5), (11, 0.3), (23, 0.2)):
        noise = torch.rand(1, 3, cells, cells, generator=generator)
        image += strength * torch.nn.functional.interpolate(
            noise, size=(height, width), mode="bicubic", align_corners=False
        )
    return (image[0].clamp(0, 1) * 255).round() / 255


def moving(num_frames: int, height: int, width: int, dx: int = 2, dy: int = 1) -> list[Tensor]:
    """A window that slides over one textured picture."""
    canvas = textured(height + abs(dy) * num_frames, width + abs(dx) * num_frames)
    top, left = max(-dy, 0) * num_frames, max(-dx, 0) * num_frames
    return [
        canvas[:, top + dy * n :, left + dx * n :][:, :height, :width].contiguous()
        for n in range(num_frames)
    ]


def moving_masks(num_frames: int, height: int, width: int) -> list[Tensor]:
    """A hole that wanders downwards."""
    masks = torch.zeros(num_frames, 1, height, width, dtype=torch.bool)
    for n, mask in enumerate(masks):
        mask[0, 10 + 2 * n : 25 + 2 * n, 20:40] = True
    return list(masks)


def frames_of(images: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> list[Frame]:
    """Frames at irregular times, as of a video of variable frame rate."""
    return [
        Frame(
            index=n,
            image=image,
            pts=3000 * n + 7 * n * n + 11,
            time_base=TIME_BASE,
            mask=None if masks is None else masks[n],
        )
        for n, image in enumerate(images)
    ]


class ListSource:
    """A source of given frames that can fail on cue.

    Args:
        frames: The frames.
        fail_at: Raise ``error`` instead of giving this frame.
        error: What to raise.
    """

    name = "list"

    def __init__(
        self, frames: Sequence[Frame], fail_at: int | None = None, error: Exception | None = None
    ) -> None:
        self._frames = list(frames)
        self._fail_at = fail_at
        self._error = error

    @property
    def has_masks(self) -> bool:
        return any(frame.mask is not None for frame in self._frames)

    def info(self) -> StreamInfo:
        height, width = self._frames[0].image.shape[-2:] if self._frames else (1, 1)
        return StreamInfo(
            width=width,
            height=height,
            time_base=TIME_BASE,
            rate=Fraction(30),
            num_frames=len(self._frames),
        )

    def count(self) -> int:
        return len(self._frames)

    def notes(self) -> tuple[str, ...]:
        return ()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        for frame in self._frames[first:stop]:
            if frame.index == self._fail_at and self._error is not None:
                raise self._error
            yield frame


class LongSource:
    """A source that makes its frames one at a time: nothing of it grows with its length."""

    name = "long"

    def __init__(self, num_frames: int, height: int, width: int) -> None:
        self._num_frames = num_frames
        self._image = textured(height, width)

    def info(self) -> StreamInfo:
        height, width = self._image.shape[-2:]
        return StreamInfo(width, height, TIME_BASE, Fraction(30), self._num_frames)

    def count(self) -> int:
        return self._num_frames

    def notes(self) -> tuple[str, ...]:
        return ()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        for n in range(first, self._num_frames if stop is None else stop):
            yield Frame(n, self._image.roll(n, dims=-1), 3000 * n, TIME_BASE)


class ListSink:
    """A sink that keeps what it is given, and what was done to it."""

    name = "list"

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.calls: list[str] = []

    def open(self, info: StreamInfo) -> None:
        self.calls.append("open")

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def images(self) -> np.ndarray:
        """All frames as levels, ``(N, C, H, W)`` uint8."""
        stacked = torch.stack([frame.image for frame in self.frames])
        return (stacked * 255).round().to(torch.uint8).numpy()


class CountingSink(ListSink):
    """A sink that only counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def write(self, frame: Frame) -> None:
        self.count += 1


class ArraySink:
    """Frames and times in one file of arrays, whole or in segments: lossless by construction."""

    segment_suffix = ".npz"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._images: list[np.ndarray] = []
        self._times: list[tuple[int, int, int]] = []

    def open(self, info: StreamInfo) -> None:
        self._images, self._times = [], []

    def write(self, frame: Frame) -> None:
        self._images.append((frame.image * 255).round().to(torch.uint8).numpy())
        base = frame.time_base
        self._times.append((frame.pts, base.numerator, base.denominator))

    def close(self) -> None:
        part = self.path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez(part, images=np.stack(self._images), times=np.array(self._times))
        part.replace(self.path)

    def abort(self) -> None:
        self._images = []

    def segment(self, path: Path) -> Sink:
        return ArraySink(path)

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        loaded = [dict(np.load(part)) for part in parts]
        joined = {key: np.concatenate([part[key] for part in loaded]) for key in loaded[0]}
        np.savez(self.path, **joined)


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Levels ``(N, C, H, W)`` and times of what an ``ArraySink`` wrote."""
    with np.load(path) as arrays:
        return arrays["images"], arrays["times"]


class FunctionTranslator:
    """A translator around a function, recording the batches that it saw."""

    name = "function"

    def __init__(
        self, function: Callable[..., Tensor], traits: TranslatorTraits | None = None
    ) -> None:
        self.traits = traits or TranslatorTraits()
        self.batches: list[tuple[int, ...]] = []
        self._function = function

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        self.batches.append(tuple(images.shape))
        return self._function(images) if masks is None else self._function(images, masks)


def without_images(frame: Frame) -> Frame:
    """The frame with a blank picture: what is left to compare is its time."""
    return replace(frame, image=torch.zeros(1, 1, 1))
