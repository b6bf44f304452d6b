"""Sound that begins before zero, and sound that a file lists but refuses."""

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import fill as fill_picture
from clips import moving_planes, read_back, sound_packets, write_clip

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

CODECS = {"libopus": (48000, "flt"), "flac": (44100, "s16"), "aac": (48000, "fltp")}


def write_film(path: Path, *codecs: str) -> Path:
    """Half a second of pictures, and of sound by each of the codecs."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        tracks: list[Any] = [container.add_stream(name, rate=CODECS[name][0]) for name in codecs]
        for number in range(12):
            picture = av.VideoFrame(48, 32, "yuv420p")
            fill_picture(picture, moving_planes(number, 32, 48))
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for track, name in zip(tracks, codecs, strict=True):
            rate, layout = CODECS[name]
            for number in range(20):
                tone = np.sin(np.arange(1024) * 0.02 * (number + 1)) * 0.3
                samples = tone * 32767 if layout == "s16" else tone
                kind = np.int16 if layout == "s16" else np.float32
                shaped = np.stack((samples, samples)) if layout == "fltp" else np.repeat(samples, 2)
                block = av.AudioFrame.from_ndarray(
                    np.atleast_2d(shaped).astype(kind), layout, "stereo"
                )
                block.sample_rate, block.pts = rate, number * 1024
                block.time_base = Fraction(1, rate)
                container.mux(track.encode(block))
            container.mux(track.encode(None))
    return path


def copy(clip: Path, out: Path) -> Path:
    LocalRunner("cpu").run(Pipeline(VideoSource(clip), [], VideoSink(out)))
    return out


@pytest.mark.parametrize(
    ("codecs", "suffix"), [(("libopus", "aac"), ".mkv"), (("libopus",), ".webm")]
)
def test_what_prepares_a_decoder_is_kept_where_the_track_says_how_much_it_is(
    tmp_path: Path, codecs: tuple[str, ...], suffix: str
):
    film = write_film(tmp_path / "in.mkv", *codecs)

    out = copy(film, tmp_path / f"out{suffix}")

    before, after = sound_packets(film), sound_packets(out)
    assert all(track[0][0] < 0 for track in before)
    assert after == before
    assert read_back(out)[0] == [Fraction(number, 25) for number in range(12)]


def test_elsewhere_it_is_left_out_and_nothing_else_moves(tmp_path: Path):
    film = write_clip(tmp_path / "in.mp4", audio=("aac", 20))

    out = copy(film, tmp_path / "out.mkv")

    (before,), (after,) = sound_packets(film), sound_packets(out)
    assert before[0][0] < 0
    assert [data for _, data in after] == [data for _, data in before[1:]]
    assert read_back(out)[0] == read_back(film)[0]


def test_sound_that_quicktime_lists_but_refuses_is_named_and_the_film_is_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    film = write_film(tmp_path / "in.mkv", "libopus", "flac", "aac")

    with caplog.at_level(logging.WARNING):
        out = copy(film, tmp_path / "out.mov")

    told = "not carried into mov: audio track 1 (opus), audio track 2 (flac)"
    assert any(message.endswith(told) for message in caplog.messages)
    assert len(sound_packets(out)) == 1
    assert read_back(out)[0] == read_back(film)[0]
