"""A whole file looked at once: its frames, how far it goes, and what is wrong with it."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet

from pipeline.errors import InputError
from pipeline.io.clock import Stamps, repaired_stamps
from pipeline.io.decoding import (
    DamagedPictureError,
    kept_packets,
    kept_pictures,
    packets,
    pictures,
    reason,
)
from pipeline.io.extent import Extent
from pipeline.io.ffv1 import SpoiltPictures
from pipeline.io.frame_index import (
    ONE_FRAME_PACKETS,
    FrameIndex,
    ShownPackets,
    index_of_packets,
)
from pipeline.io.probe import VideoProbe, open_input

# Stretches that one line names before it says how many more there are.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of a file after one look at all of it.

    Attributes:
        index: Its frames.
        extent: How far it goes.
        is_damaged: True if not everything could be read; the index then lists what could be.
        places: For each frame its number among those that the file should hold, where it is
            damaged; empty if no frame is known to be missing.
        notes: What was repaired or is missing, a line each.
    """

    index: FrameIndex
    extent: Extent
    is_damaged: bool = False
    places: Sequence[int] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Packets:
    """What the packets of a file tell."""

    extent: Extent
    codec: str
    shown: ShownPackets = field(default_factory=ShownPackets)
    failures: list[str] = field(default_factory=list)
    damaged: int = 0


@dataclass(slots=True)
class _Kept:
    """What decoding around all damage gave."""

    stamps: Stamps = field(default_factory=Stamps)
    keys: "array[int]" = field(default_factory=lambda: array("q"))
    damaged: "array[int]" = field(default_factory=lambda: array("q"))
    failures: list[str] = field(default_factory=list)


def survey_strictly(path: Path, name: str, probe: VideoProbe) -> Survey:
    """Survey a file that must be whole.

    Packets are counted, not what is claimed; only where they do not tell how many frames they
    hold is the file decoded.

    Raises:
        InputError: If it cannot be read, or where it had to be decoded, not be decoded, to its
            end.
    """
    try:
        told = _read_packets(path, name, probe, keep_damaged=False)
        index = index_of_packets(told.codec, told.shown)
        notes: tuple[str, ...] = ()
        if index is None:
            index, notes = _index_of(_decoded_stamps(path, name, probe), (), name, probe)
    except (av.FFmpegError, DamagedPictureError) as error:
        msg = f"{name} must be readable to its end, got {reason(error)}"
        raise InputError(msg) from error
    notes = (*_lacking(name, probe, told, len(index.pts)), *notes)
    return Survey(index, told.extent, notes=notes)


def survey_damage(path: Path, name: str, probe: VideoProbe) -> Survey:
    """Survey a file of which all is to be kept that can be decoded. It is decoded to see that.

    Raises:
        InputError: If it cannot be opened.
    """
    told = _read_packets(path, name, probe, keep_damaged=True)
    index = index_of_packets(told.codec, told.shown)
    extent = told.extent
    is_whole = extent.is_complete and not extent.holes_s and extent.broken_at is None
    if is_whole and not told.failures and not told.damaged:
        try:
            stamps = _decoded_stamps(path, name, probe)
        except (av.FFmpegError, DamagedPictureError):
            stamps = Stamps()
        if len(stamps) and (index is None or stamps.ticks == index.pts):
            decoded, notes = _index_of(stamps, (), name, probe)
            notes = (*_lacking(name, probe, told, len(decoded.pts)), *notes)
            return Survey(index or decoded, told.extent, notes=notes)
    kept = _decode_kept(path, name, probe)
    if not len(kept.stamps):
        msg = f"{name} must have at least one frame that can be decoded, got none"
        raise InputError(msg)
    index, notes = _index_of(kept.stamps, kept.keys, name, probe)
    expected, places = _places(told, kept.stamps)
    damage = _damage(name, probe, told, kept, expected)
    return Survey(index, told.extent, is_damaged=True, places=places, notes=(damage, *notes))


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers, which ascend."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _read_packets(path: Path, name: str, probe: VideoProbe, *, keep_damaged: bool) -> _Packets:
    with open_input(path, name) as container:
        stream = container.streams[probe.stream_index]
        told = _Packets(Extent(container, path), stream.codec_context.codec.canonical_name)

        def watch(packet: "Packet[Any]") -> None:
            told.extent.watch(packet)
            told.damaged += packet.is_corrupt
            if packet.stream.index == probe.stream_index and not packet.is_discard:
                told.shown.append(packet.pts, is_key=packet.is_keyframe)

        reading = (
            kept_packets(container, watch, told.failures)
            if keep_damaged
            else packets(container, watch)
        )
        end = 0
        for packet in reading:
            if packet.stream.index == probe.stream_index and not packet.is_discard:
                end = max(end, (packet.pts or 0) + (packet.duration or 0))
    is_short = probe.num_frames is not None and len(told.shown.stamps) < probe.num_frames
    # Either alone can be due to an edit list.
    if is_short and probe.end is not None and end + probe.nominal_step <= probe.end:
        told.extent.lacks_frames = True
    if is_short and probe.lacks_duration:
        told.extent.lacks_frames = True
    return told


def _decoded_stamps(path: Path, name: str, probe: VideoProbe) -> Stamps:
    with open_input(path, name) as container:
        decoded = pictures(container, probe.stream_of(container), with_one_thread=True)
        return Stamps(stamp for stamp, _ in decoded)


def _decode_kept(path: Path, name: str, probe: VideoProbe) -> _Kept:
    kept = _Kept()
    with open_input(path, name) as container:
        stream = probe.stream_of(container)
        spoilt = SpoiltPictures(stream)
        for stamp, picture in kept_pictures(container, stream, spoilt.watch, kept.failures):
            number = len(kept.stamps)
            kept.stamps.append(stamp)
            if picture.is_corrupt or stamp in spoilt.stamps:
                kept.damaged.append(number)
            elif picture.key_frame:
                kept.keys.append(number)
    return kept


def _index_of(
    stamps: Stamps, key_frames: Sequence[int], name: str, probe: VideoProbe
) -> tuple[FrameIndex, tuple[str, ...]]:
    """The index of decoded frames, and a line if their timestamps had to be repaired."""
    pts = repaired_stamps(stamps, probe.nominal_step)
    changed = np.flatnonzero(np.asarray(stamps.ticks) != np.asarray(pts)).tolist()
    is_exact = bool(key_frames) and not changed
    index = FrameIndex(pts, key_frames if is_exact else (), is_exact)
    if not changed or stamps.are_missing:
        # Some files have no timestamps at all: nothing is wrong with them.
        return index, ()
    note = (
        f"{name}: {len(changed)} of {len(pts)} timestamps were missing or did not ascend and were "
        f"replaced: {_named(runs(changed), pts, probe.time_base)}"
    )
    return index, (note,)


def _lacking(name: str, probe: VideoProbe, told: _Packets, num_frames: int) -> tuple[str, ...]:
    """Lines about frames that are not there though nothing is damaged: a trim leaves both.

    An edit list hides frames, and decoders give none for packets before the first key frame. A
    wrong bit can do the same.
    """
    num_shown, claimed = len(told.shown.stamps), probe.num_frames or 0
    lines = []
    if num_shown < claimed:
        how = (
            "are left out, as its edit list says"
            if probe.is_mp4
            else "that it claims are not there"
        )
        lines.append(f"{name}: {claimed - num_shown} of {claimed} frames {how}")
    if told.codec in ONE_FRAME_PACKETS and num_frames < num_shown:
        lines.append(f"{name}: {num_shown - num_frames} of {num_shown} packets gave no frame")
    return tuple(lines)


def _places(told: _Packets, stamps: Stamps) -> tuple[Sequence[int], Sequence[int]]:
    """Timestamps of the frames that packets promise, and which of them each decoded frame is."""
    promised = told.shown.stamps.sorted()
    is_told = told.codec in ONE_FRAME_PACKETS and promised.are_ascending
    if not is_told or not stamps.are_ascending or not np.isin(stamps.ticks, promised.ticks).all():
        return (), ()
    places = np.searchsorted(promised.ticks, stamps.ticks).astype(np.int64)
    return promised.ticks, array("q", places.tobytes())


def _damage(
    name: str, probe: VideoProbe, told: _Packets, kept: _Kept, expected: Sequence[int]
) -> str:
    """One line that says what is missing, and what is there but may look damaged."""
    extent = told.extent
    facts = []
    if expected:
        missing = np.flatnonzero(~np.isin(expected, kept.stamps.ticks)).tolist()
        if missing:
            where = _named(runs(missing), expected, probe.time_base)
            facts.append(f"{len(missing)} of {len(expected)} frames are missing: {where}")
    elif kept.failures:
        facts.append(f"decoding failed {len(kept.failures)} times, with frames missing there")
    if told.failures:
        facts.append(f"reading failed {len(told.failures)} times ({told.failures[0]})")
    for begin, end in extent.holes_s[:MOST_NAMED]:
        num_frames = round((end - begin) * probe.rate)
        facts.append(
            f"nothing could be read from {float(begin):.3f} s to {float(end):.3f} s, about "
            f"{num_frames} frames"
        )
    if extent.broken_at is not None:
        facts.append(f"there is {extent.where_broken()}")
    if told.damaged:
        facts.append(f"{told.damaged} packets were read with errors")
    if not extent.is_complete:
        claimed = probe.claimed_frames(extent.length_s)
        facts.append(
            f"the end is missing: {claimed} frames ({float(extent.length_s):.3f} s) are claimed, "
            f"{len(kept.stamps)} up to {float(extent.reached_s or 0):.3f} s are there"
        )
    if kept.damaged:
        pts = repaired_stamps(kept.stamps, probe.nominal_step)
        where = _named(runs(kept.damaged), pts, probe.time_base)
        facts.append(f"{len(kept.damaged)} of the frames kept were damaged: {where}")
    return f"{name} is damaged: {'; '.join(facts) or 'it cannot be decoded without errors'}"


def _named(found: Sequence[tuple[int, int]], pts: Sequence[int], time_base: Fraction) -> str:
    """Runs of frames with their times, the first few of them."""
    parts = []
    for first, last in found[:MOST_NAMED]:
        begin, end = float(pts[first] * time_base), float(pts[last] * time_base)
        if first == last:
            parts.append(f"{first} ({begin:.3f} s)")
        else:
            parts.append(f"{first}-{last} ({begin:.3f}-{end:.3f} s)")
    more = len(found) - MOST_NAMED
    return ", ".join(parts) + (f" and {more} stretches more" if more > 0 else "")
