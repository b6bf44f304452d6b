"""Exact time: ticks and seconds as fractions, and what to do where a timestamp is missing."""

from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

# FFmpeg's own number for a timestamp that is not there; no other can be as low.
_MISSING = -(2**63)


def to_fraction(value: Any) -> Fraction | None:
    """A rational of PyAV, whichever type this release gives, as a fraction.

    Args:
        value: A ``Fraction``, a number, another rational with ``numerator`` and ``denominator``,
            or None.

    Returns:
        None for None and for the "unset" rational, whose denominator is zero.
    """
    if value is None:
        return None
    denominator = int(value.denominator)
    return None if denominator == 0 else Fraction(int(value.numerator), denominator)


def seconds(ticks: int, time_base: Fraction) -> Fraction:
    """Ticks to seconds, exactly."""
    return ticks * time_base


def nearest_tick(moment_s: Fraction, time_base: Fraction) -> int:
    """The tick of ``time_base`` nearest to a moment in seconds; halves go to the later tick."""
    doubled = 2 * moment_s / time_base + 1
    return doubled.numerator // (2 * doubled.denominator)


class Stamps:
    """Timestamps of frames, in ticks, eight bytes each: a day of video has millions.

    Args:
        stamps: The first of them; None where one is missing.

    Attributes:
        ticks: The same, with the lowest number there is where one is missing.
    """

    def __init__(self, stamps: Iterable[int | None] = ()) -> None:
        self.ticks = array("q")
        for stamp in stamps:
            self.append(stamp)

    def append(self, stamp: int | None) -> None:
        """Add the timestamp of the next frame."""
        self.ticks.append(_MISSING if stamp is None else stamp)

    def __len__(self) -> int:
        return len(self.ticks)

    def __getitem__(self, number: int) -> int | None:
        tick = self.ticks[number]
        return None if tick == _MISSING else tick

    def __iter__(self) -> Iterator[int | None]:
        return (None if tick == _MISSING else tick for tick in self.ticks)

    @property
    def are_missing(self) -> bool:
        """Whether no frame has one."""
        return all(stamp is None for stamp in self)

    @property
    def are_ascending(self) -> bool:
        """Whether every frame has one, later than that of the frame before."""
        ticks = np.asarray(self.ticks)
        is_there = not self.ticks or self.ticks[0] != _MISSING
        return is_there and bool((ticks[1:] > ticks[:-1]).all())

    def sorted(self) -> "Stamps":
        """The same in ascending order, missing ones first."""
        others = Stamps()
        others.ticks = self.ticks[:]
        np.asarray(others.ticks).sort()
        return others


def repaired_stamps(stamps: Stamps, nominal_step: int) -> "array[int]":
    """Make timestamps ascend strictly, changing only those that do not.

    The rule: a timestamp is good if it is there and lies at least one tick per frame after the
    last good one. Frames between two good ones that have none, or one that repeats or goes back,
    are spaced evenly between them, but by no more than the nominal step; after the last good one
    and before the first they are spaced by the nominal step. Without any, the first is zero.

    Args:
        stamps: Of all frames in the order in which they are shown.
        nominal_step: Ticks from one frame to the next at the average frame rate.

    Returns:
        As many timestamps, ascending strictly. The good ones are unchanged.

    Raises:
        OverflowError: If they would not fit into 64 bits.
    """
    if stamps.are_ascending:
        return stamps.ticks[:]
    step = max(1, nominal_step)
    following = _next_good(stamps)
    # A frame before the first, from which the first good one is searched like all others.
    good = following[0]
    if good == len(stamps):
        return array("q", (number * step for number in range(len(stamps))))
    anchor = stamps.ticks[good]
    times = array("q", (anchor - step * (good - number) for number in range(good)))
    while good < len(stamps):
        later = following[good + 1]
        num_frames = later - good
        room = num_frames * step if later == len(stamps) else stamps.ticks[later] - anchor
        if room >= num_frames * step:
            times.extend(anchor + number * step for number in range(num_frames))
        else:
            times.extend(anchor + number * room // num_frames for number in range(num_frames))
        good = later
        anchor += room
    return times


def _next_good(stamps: Stamps) -> "array[int]":
    """For the start, then for each frame taken as good: the number of the next good one.

    Where there is none, the number of frames.
    """
    following = array("q", [len(stamps)]) * (len(stamps) + 1)
    # Stamps less one tick per frame must not fall; those that may come next, the nearest on top.
    candidates = array("q")
    for number in range(len(stamps) - 1, -1, -1):
        stamp = stamps[number]
        if stamp is None:
            continue
        level = stamp - number
        while candidates and stamps.ticks[candidates[-1]] - candidates[-1] < level:
            candidates.pop()
        following[number + 1] = candidates[-1] if candidates else len(stamps)
        candidates.append(number)
        # In the end that of the first that is there.
        following[0] = number
    return following
