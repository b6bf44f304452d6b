"""Exact time."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.clock import Stamps, nearest_tick, repaired_stamps, seconds, to_fraction

TIME_BASES = st.fractions(min_value=Fraction(1, 100_000), max_value=2)


@dataclass
class Rational:
    """What a future release of PyAV may return instead of a fraction."""

    numerator: int
    denominator: int


def test_every_kind_of_rational_becomes_a_fraction():
    assert to_fraction(Rational(1001, 30000)) == Fraction(1001, 30000)
    assert to_fraction(Fraction(1, 25)) == Fraction(1, 25)
    assert to_fraction(25) == Fraction(25)


def test_an_unset_rational_is_none():
    assert to_fraction(None) is None
    assert to_fraction(Rational(0, 0)) is None


@given(ticks=st.integers(-(10**12), 10**12), time_base=TIME_BASES)
def test_ticks_survive_the_way_through_seconds(ticks: int, time_base: Fraction):
    assert nearest_tick(seconds(ticks, time_base), time_base) == ticks


@given(moment_s=st.fractions(-100, 100, max_denominator=10_000), time_base=TIME_BASES)
def test_no_tick_is_nearer_than_the_nearest(moment_s: Fraction, time_base: Fraction):
    tick = nearest_tick(moment_s, time_base)

    distance = abs(tick * time_base - moment_s)
    assert all(abs((tick + step) * time_base - moment_s) >= distance for step in (-1, 1))


def test_a_moment_between_two_ticks_goes_to_the_later():
    assert nearest_tick(Fraction(1, 2), Fraction(1)) == 1
    assert nearest_tick(Fraction(-1, 2), Fraction(1)) == 0


STAMPS = st.lists(st.none() | st.integers(-60, 60), max_size=12)


def repaired_by_hand(stamps: list[int | None], step: int) -> list[Fraction]:
    """The rule read aloud, without rounding to ticks."""
    if all(stamp is None for stamp in stamps):
        return [Fraction(number * step) for number in range(len(stamps))]
    good: list[tuple[int, int]] = []
    for number, stamp in enumerate(stamps):
        if stamp is not None and (not good or stamp - good[-1][1] >= number - good[-1][0]):
            good.append((number, stamp))
    times = []
    for number in range(len(stamps)):
        before = [pair for pair in good if pair[0] <= number]
        after = [pair for pair in good if pair[0] > number]
        if not before:
            times.append(Fraction(after[0][1] - step * (after[0][0] - number)))
            continue
        first, start = before[-1]
        room = Fraction(after[0][1] - start, after[0][0] - first) if after else Fraction(step)
        times.append(start + (number - first) * min(room, Fraction(step)))
    return times


@given(st.lists(st.integers(-1000, 1000), unique=True).map(sorted), st.integers(1, 100))
def test_ascending_timestamps_are_left_alone(stamps: list[int], step: int):
    assert repaired_stamps(Stamps(stamps), step).tolist() == stamps


@given(STAMPS, st.integers(1, 20))
def test_repaired_timestamps_ascend_strictly_and_follow_the_rule(
    stamps: list[int | None], step: int
):
    repaired = repaired_stamps(Stamps(stamps), step)

    assert all(later > earlier for earlier, later in pairwise(repaired))
    by_hand = repaired_by_hand(stamps, step)
    assert len(repaired) == len(by_hand)
    # A moment between two ticks goes to the earlier.
    assert all(0 <= exact - tick < 1 for tick, exact in zip(repaired, by_hand, strict=True))


@pytest.mark.parametrize(
    ("stamps", "wanted"),
    [
        ([0, 40, 40, 80], [0, 40, 60, 80]),
        ([0, None, None, 120], [0, 40, 80, 120]),
        ([0, 80, 40, 120], [0, 80, 100, 120]),
        ([0, None, 200], [0, 40, 200]),
        ([None, None, 500], [420, 460, 500]),
        ([None, None], [0, 40]),
        ([1000, 1040, 0, 40, 80], [1000, 1040, 1080, 1120, 1160]),
    ],
    ids=["repeated", "missing", "back", "missing-before-a-gap", "first", "none", "restart"],
)
def test_what_is_missing_repeated_or_goes_back_is_put_between(
    stamps: list[int | None], wanted: list[int]
):
    assert repaired_stamps(Stamps(stamps), 40).tolist() == wanted
