"""Damage that readers pass over in silence, or see only by chance: found by other means."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from clips import MakeClip, read_back

from pipeline.errors import InputError
from pipeline.io import mpegts, video_source
from pipeline.io.decoding import DamagedPictureError, pictures
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

PACKET = 188


@pytest.fixture
def stream(make_clip: MakeClip) -> Path:
    """A transport stream with sound."""
    return make_clip("film.ts", pts=range(20), audio=("aac", 40), options={"bf": "2"})


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_whole_transport_stream_is_whole(stream: Path):
    assert mpegts.broken_at(stream) is None
    assert VideoSource(stream).count() == 20


def test_a_transport_stream_cut_inside_of_a_packet_is_refused_or_named(stream: Path):
    length = stream.stat().st_size // 2 // PACKET * PACKET + 100
    stream.write_bytes(stream.read_bytes()[:length])

    assert mpegts.broken_at(stream) == length
    with pytest.raises(InputError, match=f"a broken structure at byte {length}"):
        VideoSource(stream).count()
    kept = VideoSource(stream, keep_damaged=True)
    assert 5 < kept.count() < 20
    assert f"a broken structure at byte {length}" in kept.notes()[0]


def test_packets_that_are_no_packets_are_found_where_they_are(stream: Path):
    """Sixteen lost packets of a track are not even missed by their counter."""
    overwrite(stream, 40 * PACKET, bytes(16 * PACKET))

    assert mpegts.broken_at(stream) == 40 * PACKET
    with pytest.raises(InputError, match=f"a broken structure at byte {40 * PACKET}"):
        VideoSource(stream).count()


def test_transport_streams_of_other_layouts_are_known(stream: Path, tmp_path: Path):
    data = stream.read_bytes()
    packets = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    timed, checked, noise = (tmp_path / name for name in ("film.m2ts", "long.ts", "noise.ts"))
    timed.write_bytes(b"".join(bytes(4) + packet for packet in packets))
    checked.write_bytes(b"".join(packet + bytes(16) for packet in packets))
    noise.write_bytes(bytes(range(256)) * 20)

    assert mpegts.broken_at(timed) is None
    assert mpegts.broken_at(checked) is None
    assert mpegts.broken_at(noise) is None
    overwrite(timed, 30 * 192 + 4, b"\x00")
    assert mpegts.broken_at(timed) == 30 * 192


def test_a_packet_of_sound_that_could_not_be_read_in_full_ends_a_run(make_clip: MakeClip):
    """Its place in the table of an MP4 reaches beyond the end of the file."""
    clip = make_clip("film.mp4", audio=("aac", 60), container_options={"movflags": "+faststart"})
    with av.open(str(clip)) as container:
        sound = [packet for packet in container.demux(audio=0) if packet.size]
        last = max(sound, key=lambda packet: packet.pos)
    clip.write_bytes(clip.read_bytes()[: last.pos + last.size - 2])

    with pytest.raises(InputError, match=r"must be whole, got a packet read with errors at 1\.\d+"):
        VideoSource(clip).count()
    assert VideoSource(clip, frames=7).count() == 7
    kept = VideoSource(clip, keep_damaged=True)
    assert kept.count() == 8
    assert "1 packets were read with errors" in kept.notes()[0]


def spoil_sound(clip: Path) -> None:
    """Break the head of one packet of sound, which only a muxer reads."""
    data = bytearray(clip.read_bytes())
    heads = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xf1"]
    at = heads[len(heads) // 2]
    data[at : at + 2] = b"\x00\x00"
    clip.write_bytes(data)


def test_sound_that_an_output_refuses_is_the_inputs_fault(
    stream: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    spoil_sound(stream)
    out = tmp_path / "out.mp4"

    with pytest.raises(InputError, match=r"film.ts must have audio that can be copied, got a pack"):
        LocalRunner("cpu").run(Pipeline(VideoSource(stream), [], VideoSink(out)))
    assert not out.exists()

    with caplog.at_level(logging.WARNING):
        kept = VideoSource(stream, keep_damaged=True)
        LocalRunner("cpu").run(Pipeline(kept, [], VideoSink(out)))
    assert len(read_back(out)[0]) == 20
    (message,) = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert "packets beside its pictures were left out" in message


def test_damage_of_the_last_pictures_that_threads_miss_ends_a_run(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
):
    """FFmpeg gives the last picture to one thread while another may still find it damaged."""

    def seen_by_one(
        *words: Any, with_one_thread: bool = False
    ) -> Iterator[tuple[int | None, av.VideoFrame]]:
        for stamp, picture in pictures(*words):
            if with_one_thread and stamp is not None and stamp * Fraction(1, 12800) > wanted_s:
                msg = "the picture is damaged"
                raise DamagedPictureError(msg)
            yield stamp, picture

    clip = make_clip("film.mp4", pts=range(20), options={"bf": "0", "g": "6"})
    wanted_s = Fraction(18, 25)
    monkeypatch.setattr(video_source, "pictures", seen_by_one)

    for read in (VideoSource(clip).count, lambda: list(VideoSource(clip).frames())):
        with pytest.raises(InputError, match=r"cannot be decoded at frame 19, after 0\.720 s: the"):
            read()
    assert VideoSource(clip, frames=12).count() == 12


def decodes(data: bytes, **options: str) -> bool:
    """Whether FFmpeg makes a picture of a JPEG and says nothing."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = options
    try:
        return bool(decoder.decode(av.Packet(data)))
    except av.FFmpegError:
        return False


def garbled(jpeg: bytes) -> bytes:
    """The same with a byte changed that breaks it without a word from FFmpeg."""
    for at in range(len(jpeg) // 2, len(jpeg)):
        copy = jpeg[:at] + bytes([jpeg[at] ^ 0xFF]) + jpeg[at + 1 :]
        if decodes(copy) and not decodes(copy, err_detect="explode"):
            return copy
    pytest.fail("every byte is either harmless or an error")


def test_a_jpeg_of_which_the_rest_is_garbage_is_no_picture(make_clip: MakeClip):
    clip = make_clip("film.avi", codec="mjpeg", pix_fmt="yuvj420p", pts=range(8), size=(48, 80))
    with av.open(str(clip)) as container:
        jpeg = bytes([packet for packet in container.demux(video=0) if packet.size][5])
    overwrite(clip, clip.read_bytes().index(jpeg), garbled(jpeg))
    assert len(read_back(clip)[0]) == 8

    with pytest.raises(InputError, match=r"film.avi cannot be decoded at frame 5, after 0\.160 s"):
        list(VideoSource(clip).frames())
    kept = VideoSource(clip, size=(48, 80), keep_damaged=True)
    assert kept.count() == len(list(kept.frames())) == 8
    assert "is damaged" in kept.notes()[0]


def test_an_mp4_that_lost_the_length_of_its_pictures_is_no_short_film(make_clip: MakeClip):
    """Without it, times have no scale, and the list of edits discards most frames."""
    clip = make_clip("film.mp4", pts=range(24), options={"bf": "2", "g": "12"})
    overwrite(clip, clip.read_bytes().index(b"mdhd"), b"m`hd")
    assert len(read_back(clip)[0]) < 24

    with pytest.raises(InputError, match="must hold the 24 frames"):
        VideoSource(clip).count()
    kept = VideoSource(clip, keep_damaged=True)
    assert kept.count() < 24
    assert "24 frames" in kept.notes()[0]
