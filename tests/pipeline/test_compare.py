"""Versions of a video next to each other, read back."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import write_clip

from pipeline.evaluation.compare import Column, side_by_side
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


@pytest.mark.parametrize("pixel_aspect", [Fraction(1), Fraction(4, 3)])
def test_pixels_keep_their_shape_side_by_side(tmp_path: Path, pixel_aspect: Fraction) -> None:
    clip = write_clip(tmp_path / "in.mp4", pixel_aspect=pixel_aspect)
    out = tmp_path / "out.mp4"

    side_by_side([Column("a", VideoSource(clip)), Column("b", VideoSource(clip))], VideoSink(out))

    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.width > 2 * 48
        assert stream.sample_aspect_ratio == pixel_aspect
