"""Exact time: ticks and seconds as fractions, and what to do where a timestamp is missing."""

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


class PtsRepair:
    """Makes timestamps ascend strictly, changing only those that do not.

    A missing timestamp becomes the previous one plus the nominal step; a first one that is
    missing becomes zero. One that does not come after the previous becomes the previous plus one
    tick. The result depends on nothing but the timestamps before it.

    Args:
        nominal_step: Ticks from one frame to the next at the average frame rate.
    """

    def __init__(self, nominal_step: int) -> None:
        self._nominal_step = max(1, nominal_step)
        self._previous: int | None = None

    def __call__(self, pts: int | None) -> int:
        """The timestamp to use for the next frame."""
        if self._previous is None:
            repaired = 0 if pts is None else pts
        elif pts is None:
            repaired = self._previous + self._nominal_step
        else:
            repaired = max(pts, self._previous + 1)
        self._previous = repaired
        return repaired
