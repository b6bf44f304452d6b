"""What plans are made of in tests: a stream of a size, and a configuration of a timeline."""

from fractions import Fraction
from typing import Any

from operators.timeline import Timeline
from pipeline.config import Config
from pipeline.io.endpoint import StreamInfo


def stream(num_frames: int | None, width: int = 64, height: int = 48) -> StreamInfo:
    return StreamInfo(width, height, Fraction(1, 24), Fraction(24), num_frames)


def settings(timeline: Timeline, **aggregate: Any) -> Config:
    return Config.model_validate(
        {
            "interpolate": {"insert": timeline.insert},
            "aggregate": {"radius": timeline.radius, "dilation": timeline.dilation, **aggregate},
        }
    )
