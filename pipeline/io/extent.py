"""How far the packets of a file go, against what its container says of itself."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from pipeline.io import matroska, mpegts, riff
from pipeline.io.clock import to_fraction

# A container may round what it claims; more than this is missing content.
MISSING_SHARE = Fraction(1, 50)
MISSING_LEAST_S = Fraction(1, 2)


class Extent:
    """Watches the packets of a file go by, of every stream: sound may outlast the pictures.

    Args:
        container: The opened file, of which no packet was read yet.
        path: The same file, to look at its structure where readers do not; None not to.

    Attributes:
        length_s: The duration that the container claims; zero if it claims none.
        reached_s: The end of the latest packet, or None before the first.
        holes_s: Starts and ends of stretches from which there is neither sound nor picture,
            although the file has both. Most readers of damaged files pass over them silently.
        lacks_frames: True if there are fewer pictures than are claimed, and they end earlier.
        broken_at: The first byte at which the structure of the file makes no sense, or None.
        broken_s: The end of the latest packet before that byte.
        unreadable_s: When the first packet beside the pictures begins that could be read in part
            only, or None. Pictures are decoded, which tells more.
    """

    def __init__(self, container: InputContainer, path: Path | None = None) -> None:
        self.length_s = Fraction(0)
        self.lacks_frames = False
        self.reached_s: Fraction | None = None
        self.holes_s: list[tuple[Fraction, Fraction]] = []
        self._claimed_s: Fraction | None = None
        is_matroska = container.format.name.startswith("matroska")
        self.broken_at: int | None = None
        if path is not None and is_matroska:
            self.broken_at = matroska.broken_at(path)
        elif path is not None and container.format.name == "avi":
            self.broken_at = riff.broken_at(path)
        elif path is not None and container.format.name == "mpegts":
            self.broken_at = mpegts.broken_at(path)
        self.broken_s = Fraction(0)
        self.unreadable_s: Fraction | None = None
        if container.duration is not None:
            self.length_s = Fraction(container.duration, av.time_base)
            # FFmpeg writes where the film ends as the duration of Matroska, whenever it begins.
            start = 0 if is_matroska else container.start_time or 0
            self._claimed_s = self.length_s + Fraction(start, av.time_base)
        # A file with a table of all its packets cannot lose one without an error.
        self._can_have_holes = not container.format.name.startswith("mov")
        self._types: set[str] = set()
        self._continuous_s: Fraction | None = None

    def watch(self, packet: "Packet[Any]") -> None:
        """Take notice of a packet."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return
        time_base = to_fraction(packet.time_base) or Fraction(0)
        begin = ticks * time_base
        end = begin + (packet.duration or 0) * time_base
        self.reached_s = end if self.reached_s is None else max(self.reached_s, end)
        if packet.is_corrupt and packet.stream.type != "video" and self.unreadable_s is None:
            self.unreadable_s = begin
        is_before_break = self.broken_at is not None and 0 <= (packet.pos or 0) < self.broken_at
        if is_before_break:
            self.broken_s = max(self.broken_s, end)
        if self._can_have_holes and packet.stream.type in {"audio", "video"}:
            self._look_for_hole(packet.stream.type, begin, end)

    def _look_for_hole(self, kind: str, begin: Fraction, end: Fraction) -> None:
        known = self._continuous_s
        has_both = len(self._types) == 2
        if known is not None and has_both and begin - known > MISSING_LEAST_S:
            self.holes_s.append((known, begin))
        self._types.add(kind)
        self._continuous_s = end if known is None else max(known, end)

    @property
    def is_complete(self) -> bool:
        """False if the file ends clearly before the end that its container claims."""
        if self.lacks_frames:
            return False
        if self._claimed_s is None or self.reached_s is None:
            return True
        tolerated = max(MISSING_LEAST_S, MISSING_SHARE * self.length_s)
        return self._claimed_s - self.reached_s <= tolerated

    def breach(self, name: str, until_s: Fraction) -> str | None:
        """One line: what is missing before a moment; None if nothing is known to be.

        Args:
            name: What the line calls the file.
            until_s: The moment, in seconds.
        """
        for begin, end in self.holes_s:
            if begin < until_s:
                return (
                    f"{name} must be whole, got neither sound nor picture from "
                    f"{float(begin):.3f} s to {float(end):.3f} s"
                )
        if self.broken_at is not None and self.broken_s <= until_s:
            return f"{name} must be whole, got {self.where_broken()}"
        if self.unreadable_s is not None and self.unreadable_s <= until_s:
            moment_s = float(self.unreadable_s)
            return f"{name} must be whole, got a packet read with errors at {moment_s:.3f} s"
        return None

    def where_broken(self) -> str:
        """Where the structure of the file makes no sense, in words."""
        return f"a broken structure at byte {self.broken_at}, after {float(self.broken_s):.3f} s"

    def claim(self, name: str, num_frames: int, claimed_frames: int) -> str:
        """One line: what the file claims, and how far it goes.

        Args:
            name: What the line calls the file.
            num_frames: Frames that it holds.
            claimed_frames: Frames that it claims.
        """
        reached_s = float(self.reached_s or 0)
        return (
            f"{name} must hold the {claimed_frames} frames ({float(self.length_s):.3f} s) that it "
            f"claims, got {num_frames} frames up to {reached_s:.3f} s"
        )
