"""Exact time: ticks and seconds as fractions, and what to do where a timestamp is missing."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any


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


def repaired_stamps(stamps: Sequence[int | None], nominal_step: int) -> list[int]:
    """Make timestamps ascend strictly, changing only those that do not.

    The rule: a timestamp is good if it is there and lies at least one tick per frame after the
    last good one. Frames between two good ones that have none, or one that repeats or goes back,
    are spaced evenly between them, but by no more than the nominal step; after the last good one
    and before the first they are spaced by the nominal step. Without any, the first is zero.

    Args:
        stamps: Of all frames in the order in which they are shown, in ticks; None where missing.
        nominal_step: Ticks from one frame to the next at the average frame rate.

    Returns:
        As many timestamps, ascending strictly. The good ones are unchanged.
    """
    step = max(1, nominal_step)
    following = _next_good(stamps)
    # A frame before the first, from which the first good one is searched like all others.
    good = following[0]
    if good is None:
        return [number * step for number in range(len(stamps))]
    anchor = stamps[good] or 0
    times = [anchor - step * (good - number) for number in range(good)]
    while good is not None:
        later = following[good + 1]
        num_frames = (len(stamps) if later is None else later) - good
        room = None if later is None else (stamps[later] or 0) - anchor
        if room is None or room >= num_frames * step:
            times += [anchor + number * step for number in range(num_frames)]
        else:
            times += [anchor + number * room // num_frames for number in range(num_frames)]
        good = later
        anchor += room or 0
    return times


def _next_good(stamps: Sequence[int | None]) -> list[int | None]:
    """For the start, then for each frame taken as good: the number of the next good one."""
    following: list[int | None] = [None] * (len(stamps) + 1)
    # Stamps less one tick per frame must not fall; those that may come next, the nearest on top.
    candidates: list[tuple[int, int]] = []
    for number in range(len(stamps) - 1, -1, -1):
        stamp = stamps[number]
        if stamp is None:
            continue
        level = stamp - number
        while candidates and candidates[-1][0] < level:
            candidates.pop()
        following[number + 1] = candidates[-1][1] if candidates else None
        candidates.append((level, number))
    following[0] = next((n for n, stamp in enumerate(stamps) if stamp is not None), None)
    return following
