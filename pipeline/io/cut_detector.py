"""Finds the cuts of a video: frames where everything changes at once, and stays changed.

Hard cuts only. What changes gradually (fades, dissolves, wipes) is not cut, and neither is what
comes back (flashes).
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import sqrt

import numpy as np

from pipeline.io.endpoint import Source
from pipeline.io.thumbnails import Thumbnail, thumbnails_of

log = logging.getLogger(__name__)

HEIGHT, WIDTH = 18, 32
# How far a thumbnail is shifted in search of the one before: a tenth of the width.
MARGIN = 3
# Root mean square, in eight-bit levels, of a difference that hardly shows.
BARELY_VISIBLE = 6.0
# On each side of a frame, how many are asked how much changes here anyway.
NEIGHBOURS = 8
# The longest flash, in frames, that is not taken for a shot.
LONGEST_FLASH = 5
# Of these, what counts as usual is what this many reach: others may be cuts and flashes.
USUAL_RANK = 3
# A cut changes this many times more levels than is usual.
LEAST_RATIO = 1.5
TELL_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Change:
    """How much a picture differs from another, at the small shift at which it differs least.

    Attributes:
        share: Squared difference over what it would be if the pixels of each picture were
            shuffled: 0 for equal pictures, about 1 for unrelated ones. A difference that is
            barely visible counts for little.
        levels: Root mean square of the difference, in eight-bit levels.
    """

    share: float
    levels: float


def change(first: Thumbnail, second: Thumbnail) -> Change:
    """Compare two thumbnails.

    With ``n`` pixels, sums over pixels and channels, and ``E`` the expected sum over all ways to
    shuffle pixels, ``E |a - b|² = Σ a² + Σ b² - 2/n (Σ a)·(Σ b)``. This is large where pictures
    have contrast or different mean colours, so one threshold serves bright and dark scenes.
    All sums are of whole numbers and exact, whatever the machine.

    Args:
        first: ``(H, W, 3)`` uint8.
        second: The same.
    """
    height, width, _ = second.shape
    middle = second[MARGIN : height - MARGIN, MARGIN : width - MARGIN].astype(np.float64)
    inner = middle.transpose(2, 0, 1).reshape(3, -1)
    windows = np.lib.stride_tricks.sliding_window_view(first, middle.shape[:2], axis=(0, 1))
    shifted = windows.astype(np.float64).reshape(-1, *inner.shape)
    num_pixels = inner.shape[1]
    squared = ((shifted - inner) ** 2).sum(axis=(1, 2))
    squares = (shifted**2).sum(axis=(1, 2)) + (inner**2).sum()
    by_chance = squares - 2.0 * (shifted.sum(axis=2) @ inner.sum(axis=1)) / num_pixels
    shares = squared / (by_chance + inner.size * BARELY_VISIBLE**2)
    best = int(shares.argmin())
    return Change(float(shares[best]), sqrt(float(squared[best]) / inner.size))


class DetectedCuts:
    """Looks through a video once, at thumbnails, and holds a few of them at a time.

    Frame ``n`` begins a new shot if

    - its picture shares little with the one before: ``share`` exceeds ``threshold`` by more than
      what is usual around it, and ``levels`` is 1.5 times what is usual (what three of the 8
      changes before, or three of the 8 after, reach): motion and gradual transitions are not cut;
    - the same threshold holds between frame ``n - 1`` and each of ``n`` to ``n + 5``, and between
      each of ``n - 6`` to ``n - 1`` and frame ``n``: what a flash interrupts is not cut;
    - no stronger cut is nearer than ``shortest`` frames.

    Args:
        threshold: From 0 to 1; lower finds more.
        shortest: Fewest frames from one cut to the next.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, threshold: float = 0.4, shortest: int = 6) -> None:
        if not 0.0 < threshold < 1.0:
            msg = f"threshold must be between 0 and 1, got {threshold}"
            raise ValueError(msg)
        if shortest < 1:
            msg = f"shortest must be at least 1, got {shortest}"
            raise ValueError(msg)
        self._threshold = threshold
        self._shortest = shortest

    def find(self, source: Source) -> list[int]:
        """Look through all frames of the source.

        Raises:
            InputError: If the source cannot be read.
        """
        cuts: list[tuple[int, float]] = []
        thumbnails = _told(thumbnails_of(source, HEIGHT, WIDTH), source.name)
        for number, strength in self._candidates(thumbnails):
            if not cuts or number - cuts[-1][0] >= self._shortest:
                cuts.append((number, strength))
            elif strength > cuts[-1][1]:
                cuts[-1] = (number, strength)
        return [number for number, _ in cuts]

    def _candidates(self, thumbnails: Iterable[Thumbnail]) -> Iterator[tuple[int, float]]:
        """Frames that pass all but the last rule, each with its ``share``."""
        for number, (before, after) in enumerate(_surrounded(_seen(thumbnails)), start=1):
            if self._stands_out(before, after) and self._stays(before, after):
                yield number, after[0].change.share

    def _stands_out(self, before: "list[_Seen]", after: "list[_Seen]") -> bool:
        found = after[0].change
        if found.share <= self._threshold:
            return False
        sides = [[seen.change for seen in side] for side in (before, after[1:]) if side]
        usual_share = max(_usual([one.share for one in side]) for side in sides)
        usual_levels = max(_usual([one.levels for one in side]) for side in sides)
        return (
            found.share > self._threshold + usual_share
            and found.levels > LEAST_RATIO * usual_levels
        )

    def _stays(self, before: "list[_Seen]", after: "list[_Seen]") -> bool:
        last, first = before[-1].thumbnail, after[0].thumbnail
        pairs = [(last, seen.thumbnail) for seen in after[1 : LONGEST_FLASH + 1]]
        pairs += [(seen.thumbnail, first) for seen in before[-LONGEST_FLASH - 1 : -1]]
        return all(change(*pair).share > self._threshold for pair in pairs)


def _told(thumbnails: Iterable[Thumbnail], name: str) -> Iterator[Thumbnail]:
    """The same, with a line in the log now and then: a long video is looked at for minutes."""
    told_at = time.monotonic()
    for number, thumbnail in enumerate(thumbnails):
        if time.monotonic() - told_at > TELL_EVERY_S:
            told_at = time.monotonic()
            log.info("%s: looked for cuts in %d frames so far", name, number)
        yield thumbnail


def _usual(values: list[float]) -> float:
    return sorted(values, reverse=True)[:USUAL_RANK][-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A thumbnail and how it differs from the one before; the first, from itself."""

    thumbnail: Thumbnail
    change: Change


def _seen(thumbnails: Iterable[Thumbnail]) -> Iterator[_Seen]:
    previous: Thumbnail | None = None
    for thumbnail in thumbnails:
        yield _Seen(thumbnail, change(thumbnail if previous is None else previous, thumbnail))
        previous = thumbnail


def _surrounded(frames: Iterator[_Seen]) -> Iterator[tuple[list[_Seen], list[_Seen]]]:
    """For each frame but the first: those before it, and itself with those after it."""
    before = list(islice(frames, 1))
    after = list(islice(frames, NEIGHBOURS + 1))
    while after:
        yield before, after
        before = [*before, after[0]][-NEIGHBOURS:]
        after = [*after[1:], *islice(frames, 1)]
