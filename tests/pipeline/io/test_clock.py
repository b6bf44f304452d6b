"""Exact time."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.clock import PtsRepair, nearest_tick, seconds, to_fraction

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


@given(st.lists(st.integers(-1000, 1000), unique=True).map(sorted))
def test_ascending_timestamps_are_left_alone(stamps: list[int]):
    repair = PtsRepair(40)

    assert [repair(pts) for pts in stamps] == stamps


@given(st.lists(st.none() | st.integers(-1000, 1000)))
def test_repaired_timestamps_ascend_strictly(stamps: list[int | None]):
    repair = PtsRepair(40)

    repaired = [repair(pts) for pts in stamps]

    assert all(later > earlier for earlier, later in pairwise(repaired))


def test_missing_timestamps_follow_the_frame_rate_and_repeated_ones_move_by_a_tick():
    repair = PtsRepair(40)

    assert [repair(pts) for pts in (None, None, 100, 100, None)] == [0, 40, 100, 101, 141]
