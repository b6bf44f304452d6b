"""Sinks and small frames for the tests of writing video."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from operators.frame import Frame
from pipeline.io.endpoint import StreamInfo
from pipeline.io.video_sink import VideoSink

SinkAt = Callable[..., VideoSink]


def plain_frame(index: int, shape: tuple[int, int, int] = (3, 16, 24), level: float = 0.5) -> Frame:
    return Frame(index, torch.full(shape, level), pts=index, time_base=Fraction(1, 25))


def plain_info(**choices: Any) -> StreamInfo:
    return StreamInfo(24, 16, Fraction(1, 25), Fraction(25), None, **choices)


def write_noise(sink: VideoSink) -> None:
    """More than any disk holds, where a disk holds 40 kB."""
    for number in range(200):
        sink.write(Frame(number, torch.rand(3, 64, 64), number, Fraction(1, 25)))
