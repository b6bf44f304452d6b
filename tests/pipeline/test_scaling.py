"""Pools grow when work waits, shrink only by the idle, and stay within their bounds."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.bounds import Bounds
from pipeline.scaling import PoolState, to_end, to_start

BOUNDS = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda p: Bounds(p[0], p[0] + p[1]))
POOLS = st.builds(
    PoolState,
    bounds=BOUNDS,
    workers=st.integers(0, 18),
    joining=st.integers(0, 5),
    queue_age_s=st.floats(0, 100),
    queued=st.integers(0, 50),
    idle_s=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 100), max_size=8),
)


def pool(workers: int, **others: object) -> PoolState:
    facts = {"bounds": Bounds(1, 8), "joining": 0, "queue_age_s": 0.0, "queued": 0, "idle_s": {}}
    return PoolState(workers=workers, **(facts | others))  # type: ignore[arg-type]  # by name


@given(state=POOLS)
def test_a_pool_never_leaves_its_bounds(state: PoolState) -> None:
    there = state.workers + state.joining

    started, ended = to_start(state, 5.0), to_end(state, 60.0)

    assert started >= 0
    assert there + started <= max(there, state.bounds.most)
    assert there + started >= state.bounds.least
    assert state.workers - len(ended) >= min(state.workers, state.bounds.least)


def test_work_that_has_waited_too_long_doubles_the_pool_up_to_its_most() -> None:
    sizes = [1]
    while (more := to_start(pool(sizes[-1], queue_age_s=5.1, queued=20), 5.0)) > 0:
        sizes.append(sizes[-1] + more)

    assert sizes == [1, 2, 4, 8]


def test_a_pool_does_not_grow_while_work_is_young_or_fits_or_help_is_on_its_way() -> None:
    assert to_start(pool(2, queue_age_s=4.9, queued=20), 5.0) == 0
    assert to_start(pool(2, queue_age_s=99.0, queued=2), 5.0) == 0
    assert to_start(pool(2, queue_age_s=99.0, queued=20, joining=1), 5.0) == 0


def test_a_pool_below_its_least_is_filled_up_at_once() -> None:
    assert to_start(pool(1, bounds=Bounds(4, 8), joining=1), 5.0) == 2


def test_only_the_idle_are_ended_and_the_longest_idle_first() -> None:
    idle = {"a": 61.0, "b": 100.0, "c": 10.0, "d": 80.0}

    assert to_end(pool(4, idle_s=idle), 60.0) == ["b", "d", "a"]
    assert to_end(pool(4, idle_s=idle, bounds=Bounds(2, 8)), 60.0) == ["b", "d"]
    assert to_end(pool(4, idle_s=dict.fromkeys("abcd", 0.0)), 60.0) == []
