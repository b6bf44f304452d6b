"""Files whose structure is broken, where readers say nothing: found by their own rules."""

import io
from pathlib import Path

import av
import pytest
from clips import MakeClip

from pipeline.errors import InputError
from pipeline.io import matroska, riff
from pipeline.io.video_source import VideoSource

CHECKS = {
    "film.mkv": matroska.broken_at,
    "film.webm": matroska.broken_at,
    "film.avi": riff.broken_at,
}
CODECS = {"film.mkv": "libx264", "film.webm": "libvpx", "film.avi": "mpeg4"}
SOUND = {"film.mkv": ("aac", 40), "film.webm": None, "film.avi": ("aac", 40)}


@pytest.fixture(params=list(CHECKS))
def film(request: pytest.FixtureRequest, make_clip: MakeClip) -> Path:
    name = request.param
    return make_clip(name, codec=CODECS[name], audio=SOUND[name], pts=range(20))


def test_a_whole_file_is_whole(film: Path):
    assert CHECKS[film.name](film) is None


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_ends_too_early(film: Path, share: float):
    data = film.read_bytes()
    length = int(share * len(data))
    film.write_bytes(data[:length])

    position = CHECKS[film.name](film)

    # A head of which only the beginning is left makes no sense either.
    assert position is not None
    assert length - 12 <= position <= length


def test_what_follows_a_whole_film_does_no_harm(film: Path):
    film.write_bytes(film.read_bytes() + bytes(100))

    assert CHECKS[film.name](film) is None


def test_overwritten_heads_are_found_where_they_are(film: Path):
    data = bytearray(film.read_bytes())
    at = len(data) // 2
    data[at : at + 2000] = bytes([0]) * min(2000, len(data) - at)
    film.write_bytes(data)

    position = CHECKS[film.name](film)

    assert position is not None
    assert at - 20_000 < position <= len(data)


def test_a_block_of_a_track_that_is_not_there_is_found(make_clip: MakeClip):
    film = make_clip("film.mkv", pts=range(20), audio=("aac", 40))
    with av.open(str(film)) as container:
        tenth = [packet for packet in container.demux(video=0) if packet.size][10]
        position = film.read_bytes().index(bytes(tenth))
    data = bytearray(film.read_bytes())
    # Before what it holds a block says its track, two bytes of time, and flags.
    assert data[position - 4] == 0x81
    data[position - 4] = 0x85
    film.write_bytes(data)

    found = matroska.broken_at(film)

    assert found is not None
    assert position - 12 <= found < position


def test_a_live_stream_need_not_know_its_length(make_clip: MakeClip, tmp_path: Path):
    class Pipe(io.RawIOBase):
        """What cannot be sought: lengths stay unknown."""

        data = b""

        def writable(self) -> bool:
            return True

        def write(self, part: object) -> int:
            self.data += bytes(part)  # type: ignore[call-overload]
            return len(bytes(part))  # type: ignore[call-overload]

    pipe = Pipe()
    clip = make_clip("film.webm", codec="libvpx", pts=range(20))
    with (
        av.open(str(clip)) as source,
        av.open(pipe, "w", format="webm", options={"live": "1"}) as sink,
    ):
        copy = sink.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                sink.mux(packet)
    path = tmp_path / "live.webm"
    path.write_bytes(pipe.data)

    assert matroska.broken_at(path) is None
    assert VideoSource(path).count() == 20


def test_a_film_that_lost_its_last_frames_is_refused_although_it_nearly_reaches_its_end(
    make_clip: MakeClip,
):
    clip = make_clip("film.mkv", codec="ffv1", pts=range(20))
    data = clip.read_bytes()
    with av.open(str(clip)) as container:
        last = [packet.pos for packet in container.demux(video=0) if packet.size][-2]
    clip.write_bytes(data[: last - 10])

    for read in (VideoSource(clip).count, lambda: list(VideoSource(clip).frames())):
        with pytest.raises(InputError, match=r"must be whole, got a broken structure at byte \d+"):
            read()
    assert VideoSource(clip, frames=10).count() == 10
    kept = VideoSource(clip, keep_damaged=True)
    assert 15 < kept.count() < 20
    assert "there is a broken structure at byte" in kept.notes()[0]


def test_matroska_that_begins_late_is_not_taken_for_too_short(make_clip: MakeClip):
    """Its duration counts from zero, whenever it begins."""
    clip = make_clip("film.mkv", pts=range(50, 75))

    assert VideoSource(clip).count() == 25


def test_an_mp4_that_claims_more_frames_than_it_has_places_for_is_refused(make_clip: MakeClip):
    clip = make_clip("film.mp4", pts=range(30), audio=("aac", 60), options={"bf": "0"})
    data = bytearray(clip.read_bytes())
    # The first table of places is that of the pictures, one for each here.
    at = data.index(b"stco") + 8
    assert int.from_bytes(data[at : at + 4], "big") == 30
    data[at : at + 4] = (27).to_bytes(4, "big")
    clip.write_bytes(data)

    with pytest.raises(InputError, match=r"must hold the 30 frames \(1.\d+ s\) .* got 27 frames"):
        VideoSource(clip).count()

    kept = VideoSource(clip, keep_damaged=True)
    assert kept.count() == len(list(kept.frames())) == 27
    assert "30 frames" in kept.notes()[0]
