"""How long the last frame is shown: as long as in the input, where that says it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import MakeClip

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

STAMPS = [0, 2, 3, 7, 8, 12]
LAST = 40
RATE = 25


def held(clip: Path, path: Path, last: int) -> Path:
    """The same film, whose last frame is shown for so many ticks of the rate."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as sink:
        track = sink.add_stream_from_template(source.streams.video[0], opaque=True)
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets:
            packet.stream = track
            if packet is packets[-1]:
                packet.duration = int(last / (RATE * packet.time_base))
            sink.mux(packet)
    return path


def end_of(path: Path) -> Fraction:
    """When a plain reader no longer shows the last frame."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return max((packet.pts + packet.duration) * packet.time_base for packet in packets)


def copy(clip: Path, out: Path, **choices: int) -> Path:
    sink = VideoSink(out, options={} if out.suffix == ".webm" else {"bf": "0"})
    LocalRunner("cpu", segment_frames=4).run(Pipeline(VideoSource(clip, **choices), [], sink))
    return out


@pytest.fixture
def film(make_clip: MakeClip, tmp_path: Path) -> Path:
    plain = make_clip("plain.mp4", pts=STAMPS, options={"bf": "0", "g": "4"})
    return held(plain, tmp_path / "film.mp4", LAST)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_last_frame_that_is_held_is_held_in_the_copy(film: Path, tmp_path: Path, suffix: str):
    assert end_of(film) == Fraction(STAMPS[-1] + LAST, RATE)

    assert end_of(copy(film, tmp_path / f"out{suffix}")) == end_of(film)


def test_a_part_ends_where_the_next_frame_would_have_come(film: Path, tmp_path: Path):
    copied = copy(film, tmp_path / "out.mp4", start=1, frames=2)

    assert end_of(copied) == Fraction(STAMPS[3] - STAMPS[1], RATE)


def test_a_part_up_to_the_end_ends_as_the_whole_does(film: Path, tmp_path: Path):
    copied = copy(film, tmp_path / "out.mp4", start=2, frames=100)

    assert end_of(copied) == Fraction(STAMPS[-1] + LAST - STAMPS[2], RATE)


def test_one_frame_is_shown_as_long(make_clip: MakeClip, tmp_path: Path):
    film = held(make_clip("plain.mp4", pts=[0]), tmp_path / "film.mp4", 75)

    assert end_of(copy(film, tmp_path / "out.mp4")) == 3


def test_where_frames_are_reordered_packets_do_not_tell_and_it_lasts_as_the_one_before(
    make_clip: MakeClip, tmp_path: Path
):
    film = make_clip("film.mp4", pts=STAMPS, options={"bf": "2"})

    copied = copy(film, tmp_path / "out.mp4")

    assert VideoSource(film).info().end_s is None
    assert end_of(copied) == Fraction(2 * STAMPS[-1] - STAMPS[-2], RATE)


def write_gif(path: Path, delays: list[int]) -> list[np.ndarray]:
    """A GIF of bars; delays, in hundredths of a second, are set in its own bytes. Its pictures."""
    pictures = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "rgb8"
        for number in range(len(delays)):
            image = np.zeros((32, 48, 3), np.uint8)
            # Levels that the palette has: red in steps of 36, blue in steps of 85.
            image[:, : 6 * number + 3, 0] = 252
            image[16:, :, 2] = 255
            picture = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="rgb8")
            picture.pts = number
            container.mux(stream.encode(picture))
            pictures.append(image)
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    position = 0
    for delay in delays:
        # Each picture has a graphic control extension, with its delay at the fifth byte.
        position = data.index(b"\x21\xf9\x04", position) + 4
        data[position : position + 2] = delay.to_bytes(2, "little")
    path.write_bytes(data)
    return pictures


def test_an_animated_gif_is_a_film_of_its_pictures_at_its_times(tmp_path: Path):
    delays = [10, 4, 25, 7, 33, 150]
    pictures = write_gif(tmp_path / "in.gif", delays)

    source = VideoSource(tmp_path / "in.gif")
    frames = list(source.frames())

    assert source.count() == len(delays)
    begins = [Fraction(sum(delays[:number]), 100) for number in range(len(delays))]
    assert [frame.pts * frame.time_base for frame in frames] == begins
    assert source.info().end_s == Fraction(sum(delays), 100)
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.array_equal((frame.image * 255).numpy().transpose(1, 2, 0), picture)


def test_a_gif_lasts_as_long_as_a_film(tmp_path: Path):
    delays = [10, 4, 25, 7, 33, 150]
    write_gif(tmp_path / "in.gif", delays)

    copied = copy(tmp_path / "in.gif", tmp_path / "out.mp4")

    with av.open(str(copied)) as container:
        times = [picture.pts * picture.time_base for picture in container.decode(video=0)]
    assert times == [Fraction(sum(delays[:number]), 100) for number in range(len(delays))]
    assert end_of(copied) == Fraction(sum(delays), 100)
