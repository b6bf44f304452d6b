"""What lies beside the pictures, read back by a plain reader."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import AttachmentStream, Discard, Disposition
from clips import fill, moving_planes
from roundtrip import facts

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

FONT = bytes(range(100))
LINES = ("first", "second", "third")


def encode(container: Any, stream: Any, number: int) -> None:
    picture = av.VideoFrame(48, 32, str(stream.pix_fmt))
    fill(picture, moving_planes(number, 32, 48))
    picture.pts, picture.time_base = number, Fraction(1, 25)
    container.mux(stream.encode(picture))


def add_sound(container: Any, language: str, title: str) -> Any:
    sound = container.add_stream("aac", rate=48000)
    sound.metadata.update({"language": language, "title": title})
    return sound


def play(container: Any, sound: Any, pitch: float) -> None:
    for number in range(96):
        tone = np.sin(np.arange(1024) * pitch * (1 + number)).astype(np.float32)
        block = av.AudioFrame.from_ndarray(np.stack((tone, tone)), "fltp", "stereo")
        block.sample_rate, block.pts, block.time_base = 48000, number * 1024, Fraction(1, 48000)
        container.mux(sound.encode(block))
    container.mux(sound.encode(None))


def write_film(path: Path) -> Path:
    """Two seconds with two sounds, subtitles, two chapters and, in Matroska, an attachment."""
    is_matroska = path.suffix == ".mkv"
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "Film", "artist": "Somebody", "mood": "calm"})
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        video.metadata.update({"language": "fra", "title": "Main"})
        first = add_sound(container, "deu", "Ton")
        second = add_sound(container, "eng", "Comments")
        first.disposition = Disposition.default
        second.disposition = Disposition.comment | Disposition.hearing_impaired
        words: Any = container.add_mux_stream("subrip" if is_matroska else "mov_text")
        words.metadata["language"] = "ita"
        if is_matroska:
            words.disposition = Disposition.forced
            container.add_attachment("font.ttf", "application/x-truetype-font", FONT)
        container.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": 800,
                    "time_base": Fraction(1, 1000),
                    # MP4 keeps no chapter without a title.
                    "metadata": {} if is_matroska else {"title": "Start"},
                },
                {
                    "id": 2,
                    "start": 800,
                    "end": 2000,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "End"},
                },
            ]
        )
        for number in range(50):
            encode(container, video, number)
        play(container, first, 0.01)
        play(container, second, 0.003)
        for number, line in enumerate(LINES):
            text = line.encode()
            data = text if is_matroska else len(text).to_bytes(2, "big") + text
            packet: Any = av.Packet(data)
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts = packet.dts = 600 * number
            packet.duration = 500
            container.mux(packet)
        container.mux(video.encode(None))
    return path


@dataclass
class Beside:
    """What a plain reader finds beside the pictures."""

    file_tags: dict[str, str] = field(default_factory=dict)
    chapters: list[tuple[Fraction, Fraction, str]] = field(default_factory=list)
    tracks: list[tuple[str, str, str, Disposition]] = field(default_factory=list)
    subtitles: list[tuple[Fraction, Fraction, str]] = field(default_factory=list)
    attachments: list[tuple[str, str | None, bytes]] = field(default_factory=list)


def beside(path: Path) -> Beside:
    found = Beside()
    with av.open(str(path)) as container:
        found.file_tags = {key.lower(): value for key, value in container.metadata.items()}
        for chapter in container.chapters():
            begin, end = (chapter[side] * chapter["time_base"] for side in ("start", "end"))
            found.chapters.append((begin, end, chapter["metadata"].get("title", "")))
        for stream in container.streams:
            tags = stream.metadata
            title = tags.get("title") or tags.get("name", "")
            if isinstance(stream, AttachmentStream):
                found.attachments.append((stream.name, stream.mimetype, stream.data))
            elif stream.discard != Discard.all:
                row = (stream.type, tags.get("language", ""), title, stream.disposition)
                found.tracks.append(row)
        for packet in container.demux():
            if packet.stream.type == "subtitle" and packet.size:
                text = bytes(packet) if path.suffix == ".mkv" else bytes(packet)[2:]
                times = (packet.pts * packet.time_base, packet.duration * packet.time_base)
                if text:
                    found.subtitles.append((*times, text.decode()))
    return found


def copy(clip: Path, out: Path, **part: int) -> None:
    pipeline = Pipeline(VideoSource(clip, **part), [], VideoSink(out))
    LocalRunner("cpu").run(pipeline)


def left_behind(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if "not carried" in r.getMessage()]
    assert len(lines) <= 1
    return lines[0].split(": ", 2)[2].split(", ") if lines else []


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_copy_into_the_same_kind_of_file_keeps_everything(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
):
    clip, out = write_film(tmp_path / f"film{suffix}"), tmp_path / f"out{suffix}"

    copy(clip, out)

    before, after = beside(clip), beside(out)
    assert after.chapters == before.chapters
    assert [moment for moment, _, _ in after.chapters] == [0, Fraction(4, 5)]
    assert after.tracks == before.tracks
    assert [language for _, language, _, _ in after.tracks] == ["fra", "deu", "eng", "ita"]
    assert after.subtitles == before.subtitles
    assert [text for _, _, text in after.subtitles] == list(LINES)
    assert after.attachments == before.attachments
    assert {key: after.file_tags[key] for key in ("title", "artist")} == {
        "title": "Film",
        "artist": "Somebody",
    }
    if suffix == ".mkv":
        assert after.attachments == [("font.ttf", "application/x-truetype-font", FONT)]
        assert after.file_tags["mood"] == "calm"
    old, new = facts(clip).audio, facts(out).audio
    assert [[data for _, data in track] for track in new] == [
        [data for _, data in track] for track in old
    ]
    assert left_behind(caplog) == []


def test_one_line_names_all_that_another_kind_of_file_cannot_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clip = write_film(tmp_path / "film.mkv")

    copy(clip, tmp_path / "out.mp4")
    assert left_behind(caplog) == [
        "subtitle track 3 (srt)",
        "attachment font.ttf",
        "tag MOOD",
    ]
    assert len(beside(tmp_path / "out.mp4").tracks) == 3
    assert beside(tmp_path / "out.mp4").chapters == [
        (0, Fraction(4, 5), "Chapter 1"),
        (Fraction(4, 5), 2, "End"),
    ]

    caplog.clear()
    copy(clip, tmp_path / "out.avi")
    lost = left_behind(caplog)
    assert {"2 chapters", "attachment font.ttf", "language of audio track 1"} < set(lost)
    assert "comment flag of audio track 2" in lost
    assert len(facts(tmp_path / "out.avi").audio) == 2

    caplog.clear()
    copy(clip, tmp_path / "out.webm")
    assert [word for word in left_behind(caplog) if "audio" in word] == [
        "audio track 1 (aac)",
        "audio track 2 (aac)",
    ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_part_has_its_part_of_everything(tmp_path: Path, suffix: str):
    clip, out = write_film(tmp_path / f"film{suffix}"), tmp_path / f"out{suffix}"

    copy(clip, out, start=10, frames=25)

    # From 0.4 s to 1.4 s of the film.
    start, end = Fraction(2, 5), Fraction(7, 5)
    before, after = beside(clip), beside(out)
    assert [row[:2] for row in after.chapters] == [(0, Fraction(2, 5)), (Fraction(2, 5), 1)]
    assert [row[2] for row in after.chapters] == [row[2] for row in before.chapters]
    wanted = [
        (max(begin, start) - start, min(begin + length, end) - max(begin, start), text)
        for begin, length, text in before.subtitles
        if begin < end and begin + length > start
    ]
    assert after.subtitles == wanted
    assert [text for _, _, text in wanted] == ["first", "second", "third"]
    assert after.tracks == before.tracks
    for old, new in zip(facts(clip).audio, facts(out).audio, strict=True):
        kept = [(moment - start, data) for moment, data in old if start <= moment < end]
        assert [data for _, data in new] == [data for _, data in kept]
        limit = Fraction(1, 1000)
        assert all(abs(a - b) <= limit for (a, _), (b, _) in zip(new, kept, strict=True))


def test_a_chapter_outside_of_a_part_is_not_in_it(tmp_path: Path):
    clip, out = write_film(tmp_path / "film.mp4"), tmp_path / "out.mp4"

    copy(clip, out, frames=10)
    assert beside(out).chapters == [(0, Fraction(2, 5), "Start")]

    copy(clip, tmp_path / "later.mp4", start=30)
    assert beside(tmp_path / "later.mp4").chapters == [(0, Fraction(4, 5), "End")]


def test_sound_whose_times_were_rounded_together_is_carried(tmp_path: Path):
    """Sixteen samples last a third of a millisecond, and Matroska counts in milliseconds."""
    clip, out = tmp_path / "film.mkv", tmp_path / "out.mov"
    with av.open(str(clip), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        sound: Any = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for number in range(3):
            encode(container, video, number)
        for number in range(360):
            samples = np.full((1, 16), number, np.int16)
            block = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 48000, 16 * number, Fraction(1, 48000)
            container.mux(sound.encode(block))
        container.mux(video.encode(None))

    copy(clip, out)

    def payload(path: Path) -> bytes:
        (track,) = facts(path).audio
        return b"".join(data for _, data in track)

    assert payload(out) == payload(clip)
    assert len(payload(clip)) == 2 * 16 * 360


def with_cover(path: Path) -> Path:
    """A film with a picture for shelves."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame(16, 16, "yuvj420p")
        picture.pts = 0
        container.mux(cover.encode(picture))
        for number in range(10):
            encode(container, video, number)
        container.mux(video.encode(None))
    return path


def cover_of(path: Path) -> bytes | None:
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.disposition & Disposition.attached_pic:
                return bytes(packet)
    return None


def test_cover_art_goes_where_a_kind_of_file_keeps_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clip = with_cover(tmp_path / "film.mp4")
    wanted = cover_of(clip)
    assert wanted is not None

    for name in ("out.mp4", "out.mkv"):
        copy(clip, tmp_path / name, start=2)
        assert cover_of(tmp_path / name) == wanted
        assert len(facts(tmp_path / name).times) == 8
    assert left_behind(caplog) == []
    copy(tmp_path / "out.mkv", tmp_path / "again.mp4")
    assert cover_of(tmp_path / "again.mp4") == wanted

    copy(clip, tmp_path / "out.avi")
    assert left_behind(caplog) == ["cover art"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_film_that_begins_before_zero_keeps_its_first_frame(tmp_path: Path, suffix: str):
    """Readers of MP4 take a frame before zero for a preparation that is not shown."""
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        video: Any = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        for number in range(8):
            encode(container, video, number)
        container.mux(video.encode(None))
    clip = tmp_path / "film.mkv"
    source = EarlySource(clip)

    LocalRunner("cpu").run(Pipeline(source, [], VideoSink(tmp_path / f"out{suffix}")))

    assert facts(tmp_path / f"out{suffix}").times == [Fraction(n, 25) for n in range(8)]


class EarlySource(VideoSource):
    """A film whose first three frames are shown before zero."""

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Any]:
        for frame in super().frames(first, stop):
            yield type(frame)(frame.index, frame.image, frame.pts - 120, frame.time_base)
