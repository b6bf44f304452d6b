"""What a file says of itself and of its tracks, and how much of it another kind of file can say."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.packet import Packet
from av.stream import Disposition, Stream

from pipeline.io.clock import nearest_tick, to_fraction

if TYPE_CHECKING:
    # PyAV declares this type in its stubs alone.
    from av.container.core import Chapter

# Kinds of file, as FFmpeg names their muxers, that have a place for more than tracks and tags.
WITH_CHAPTERS = frozenset({"matroska", "mov", "mp4", "webm"})
# Their muxer passes over a chapter without a title, and gives its place to the next.
UNTITLED_CHAPTERS_LOST = frozenset({"mov", "mp4"})
WITH_ATTACHMENTS = frozenset({"matroska"})
WITH_COVER_ART = frozenset({"mp4"})

# What muxers say of themselves, or count: of another file it would not be true.
_MUXER_TAGS = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "software", "vendor_id"}
)
_COUNTS = ("_statistics_", "bps", "duration", "number_of_bytes", "number_of_frames")
# Muxers give these a value of their own wherever there is none: to lose them is to lose little.
_SMALL = frozenset({"creation_time", "handler_name"})
_UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True, slots=True)
class TrackWords:
    """What is said of a track beside its codec.

    Attributes:
        tags: Language, title and whatever else, without what muxers count.
        disposition: Default, forced, for the hard of hearing and so on.
    """

    tags: dict[str, str]
    disposition: Disposition

    @classmethod
    def of(cls, stream: Stream) -> "TrackWords":
        """What a file says of one of its tracks."""
        tags = own_words(stream.metadata)
        # QuickTime's reader calls the title of a track by another name than its writer.
        name = tags.pop("name", None)
        if name is not None:
            tags.setdefault("title", name)
        return cls(tags, stream.disposition)


def own_words(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a file or a track without what its muxer said of itself, or counted."""
    return {key: value for key, value in tags.items() if not _is_count(key)}


def lost_words(format_name: str, file_tags: Mapping[str, str]) -> list[str]:
    """The tags of a file that a kind of file cannot say.

    Args:
        format_name: FFmpeg's name of the muxer.
        file_tags: Of the input.
    """
    tags = own_words(file_tags)
    said, _, _ = _rehearsed(format_name, tags, {}, Disposition(0))
    return [f"tag {key}" for key in _lost(tags, said)]


def lost_track_words(format_name: str, words: TrackWords) -> list[str]:
    """What a kind of file cannot say of a track.

    Args:
        format_name: FFmpeg's name of the muxer.
        words: What is to be said.
    """
    _, said, disposition = _rehearsed(format_name, {}, words.tags, words.disposition)
    lost = [flag for flag in words.disposition & ~disposition if flag != Disposition.default]
    return _lost(words.tags, said) + [f"{flag.name} flag" for flag in lost]


def shifted_chapters(
    chapters: Sequence["Chapter"], span_s: tuple[Fraction, Fraction | None] | None
) -> list["Chapter"]:
    """The chapters of a part of a film, counted from its start.

    Args:
        chapters: Of the whole.
        span_s: Start and end of the part, in seconds; None for the whole.

    Returns:
        Those that lie in it, cut at its ends.
    """
    if span_s is None:
        return list(chapters)
    start_s, end_s = span_s
    kept: list[Chapter] = []
    for chapter in chapters:
        time_base = to_fraction(chapter["time_base"]) or Fraction(1, 1000)
        begin, end = max(chapter["start"] * time_base, start_s), chapter["end"] * time_base
        end = end if end_s is None else min(end, end_s)
        if begin < end:
            ticks = [nearest_tick(moment - start_s, time_base) for moment in (begin, end)]
            kept.append({**chapter, "start": ticks[0], "end": ticks[1]})
    return kept


def titled_chapters(chapters: Sequence["Chapter"]) -> list["Chapter"]:
    """The same chapters, a number for a title where there is none."""
    return [
        {**chapter, "metadata": {"title": f"Chapter {number}", **chapter["metadata"]}}
        for number, chapter in enumerate(chapters, start=1)
    ]


def _is_count(key: str) -> bool:
    return key.lower() in _MUXER_TAGS or key.lower().startswith(_COUNTS)


def _lost(wanted: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """Keys of which neither name nor value came back: names change from container to container."""
    keys, values = {key.lower() for key in said}, set(said.values())
    return [
        key
        for key, value in wanted.items()
        if key.lower() not in keys | _SMALL and value not in values | {"", _UNKNOWN_LANGUAGE}
    ]


def _rehearsed(
    format_name: str,
    tags: Mapping[str, str],
    track_tags: Mapping[str, str],
    disposition: Disposition,
) -> tuple[dict[str, str], dict[str, str], Disposition]:
    """What is left of tags and flags in a tiny file of a kind: no list of ours can grow old."""
    file = io.BytesIO()
    codec = "vp8" if format_name == "webm" else "mjpeg"
    time_base = Fraction(1, 25)
    with av.open(file, "w", format=format_name) as container:
        container.metadata.update(tags)
        stream = container.add_mux_stream(codec, width=16, height=16, time_base=time_base)
        stream.metadata.update(track_tags)
        stream.disposition = disposition
        packet: Packet[Any] = Packet(bytes(16))
        packet.stream, packet.time_base = stream, time_base
        packet.pts, packet.dts, packet.duration, packet.is_keyframe = 0, 0, 1, True
        container.mux(packet)
    file.seek(0)
    with av.open(file, metadata_errors="replace") as read:
        stream = read.streams[0]
        return dict(read.metadata), dict(stream.metadata), stream.disposition
