"""A cluster is shared so that everything fits, wishes are kept, and too much is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.frame import Frame
from pipeline.bounds import Bounds
from pipeline.errors import ClusterError
from pipeline.staffing import Staff, Supply, owner_gpus, staffing
from pipeline.stage import Resources, Stage


class Idle:
    """An operator that is never run."""

    takes = Frame
    reach = 0

    def __init__(self, *, is_stateful: bool = False) -> None:
        self.is_stateful = is_stateful

    def setup(self, device: torch.device) -> None: ...
    def process(self, item: Frame) -> list[Frame]: ...
    def flush(self) -> list[Frame]: ...
    def close(self) -> None: ...


def stages(*resources: Resources) -> list[Stage]:
    return [Stage(Idle(), f"stage{n}", one) for n, one in enumerate(resources)]


def total(staff: dict[str, Staff], resource: str) -> float:
    return sum(one.replicas * getattr(one, resource) for one in staff.values())


# What a network takes, what arithmetic takes, and everything that users ask for.
WISHES = st.builds(
    Resources,
    replicas=st.none() | st.integers(1, 12),
    num_cpus=st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.5]),
    num_gpus=st.none() | st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0, 2.0]),
)


@given(
    wishes=st.lists(WISHES, min_size=1, max_size=4),
    cpus=st.integers(1, 64),
    gpus=st.integers(0, 8),
)
def test_what_is_asked_for_fits_the_cluster_or_is_refused(
    wishes: list[Resources], cpus: int, gpus: int
) -> None:
    try:
        staff = staffing(stages(*wishes), Supply(cpus, gpus))
    except ClusterError:
        return

    assert total(staff, "num_cpus") <= cpus + 1e-9
    assert total(staff, "num_gpus") <= gpus + 1e-9
    assert all(one.replicas >= 1 and one.threads >= 1 for one in staff.values())


@given(
    replicas=st.lists(st.none() | st.integers(1, 40), min_size=1, max_size=4),
    cpus=st.integers(1, 64),
)
def test_who_only_says_how_many_processes_is_never_refused(
    replicas: list[int | None], cpus: int
) -> None:
    staff = staffing(stages(*(Resources(replicas=one) for one in replicas)), Supply(cpus, 0))

    assert total(staff, "num_cpus") <= cpus + 1e-9


@given(wishes=st.lists(WISHES, min_size=1, max_size=2))
def test_what_a_stage_says_itself_is_kept(wishes: list[Resources]) -> None:
    # Room for the most that two stages ask for.
    staff = staffing(stages(*wishes), Supply(1000, 48))

    for wish, one in zip(wishes, staff.values(), strict=True):
        for name in ("replicas", "num_cpus", "num_gpus"):
            wanted = getattr(wish, name)
            assert wanted is None or getattr(one, name) == wanted


def test_a_network_gets_every_gpu_and_the_rest_the_processors() -> None:
    staff = staffing(stages(Resources(), Resources(num_gpus=None)), Supply(32, 4))

    assert staff == {
        "stage0": Staff(Bounds(8, 8), 1.0, 0.0, 1),
        "stage1": Staff(Bounds(4, 4), 1.0, 1.0, 1),
    }


def test_two_networks_share_the_gpus() -> None:
    staff = staffing(stages(Resources(num_gpus=None), Resources(num_gpus=0.5)), Supply(32, 4))

    assert [one.replicas for one in staff.values()] == [2, 4]


@pytest.mark.parametrize(
    ("gpus", "each", "replicas"),
    [(1, 0.5, [1, 1]), (2, 1, [1, 1]), (5, 1, [2, 2])],
)
def test_networks_that_are_more_than_gpus_take_parts_of_them(
    gpus: float, each: float, replicas: list[int]
) -> None:
    networks = stages(Resources(num_gpus=None), Resources(num_gpus=None))

    staff = staffing(networks, Supply(16, gpus))

    assert [one.num_gpus for one in staff.values()] == [each, each]
    assert [one.replicas for one in staff.values()] == replicas
    assert total(staff, "num_gpus") <= gpus


def test_a_cluster_without_processors_is_asked_for_them() -> None:
    """A head that carries no work: whatever starts machines sees what is asked for."""
    growing = Resources(replicas=Bounds(2, 8), num_gpus=1.0)

    staff = staffing(stages(Resources(), growing), Supply(0, 0))

    assert staff == {
        "stage0": Staff(Bounds(1, 1), 1.0, 0.0, 1),
        "stage1": Staff(Bounds(2, 8), 1.0, 1.0, 1),
    }


def test_a_fraction_of_a_gpu_is_shared_by_as_many() -> None:
    staff = staffing(stages(Resources(num_gpus=0.5)), Supply(32, 4))

    assert staff["stage0"].replicas == 8


def test_without_gpus_the_network_gets_three_processors_in_four() -> None:
    staff = staffing(stages(Resources(), Resources(num_gpus=None)), Supply(16, 0))

    assert [one.replicas for one in staff.values()] == [4, 12]
    assert total(staff, "num_gpus") == 0


def test_more_processes_than_processors_share_them() -> None:
    staff = staffing(stages(Resources(replicas=3), Resources(replicas=5)), Supply(2, 0))

    assert {one.num_cpus for one in staff.values()} == {0.25}


def test_a_process_of_several_processors_has_as_many_threads() -> None:
    staff = staffing(stages(Resources(replicas=1, num_cpus=3.5)), Supply(8, 0))

    assert staff["stage0"].threads == 3


def test_processes_of_several_processors_are_fewer() -> None:
    staff = staffing(stages(Resources(), Resources(num_cpus=3, num_gpus=None)), Supply(16, 0))

    assert [one.replicas for one in staff.values()] == [4, 4]


def test_what_remembers_belongs_to_a_lane_and_not_to_a_pool() -> None:
    owner = Stage(Idle(is_stateful=True), "aggregate")

    assert staffing([owner], Supply(4, 0)) == {}


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            [Resources(replicas=1, num_gpus=2)],
            r"^stage 'stage0' must find 2 GPU on the cluster, got 1$",
        ),
        (
            [Resources(replicas=3, num_cpus=2)],
            r"^stage 'stage0' must find 6 CPU on the cluster, got 4$",
        ),
        (
            [Resources(num_gpus=1), Resources(num_gpus=1)],
            r"^all stages together must find 2 GPU on the cluster, got 1$",
        ),
        (
            [Resources(replicas=1, num_cpus=3)] * 2,
            r"^all stages together must find 6 CPU on the cluster, got 4$",
        ),
    ],
)
def test_too_much_is_refused_in_words(wishes: list[Resources], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        staffing(stages(*wishes), Supply(4, 1))


def test_what_fills_the_cluster_exactly_is_not_refused() -> None:
    """In binary, 0.6 and six times 0.4 are a little more than 3."""
    wishes = [Resources(replicas=1, num_cpus=0.6), Resources(replicas=6, num_cpus=0.4)]

    staff = staffing(stages(*wishes), Supply(3, 0))

    assert total(staff, "num_cpus") == pytest.approx(3)


@given(gpus=st.integers(0, 8), lanes=st.integers(1, 6), owners=st.integers(1, 3))
def test_owners_and_a_pool_fit_the_gpus_together(gpus: int, lanes: int, owners: int) -> None:
    pool = Stage(Idle(), "pool", Resources(num_gpus=None))
    held = [
        Stage(Idle(is_stateful=True), f"owner{n}", Resources(num_gpus=None)) for n in range(owners)
    ]

    each = owner_gpus([pool, *held], lanes, gpus)
    left = gpus - lanes * sum(each.values())
    staff = staffing([pool, *held], Supply(16, left))

    assert lanes * sum(each.values()) + total(staff, "num_gpus") <= gpus + 1e-9
    # Where there is a GPU, both get some of it.
    assert all((share > 0) == (gpus > 0) for share in each.values())
    assert (staff["pool"].num_gpus > 0) == (gpus > 0)


def test_a_pool_with_bounds_begins_with_the_least_and_leaves_room_for_the_most() -> None:
    staff = staffing(stages(Resources(replicas=Bounds(1, 4)), Resources(replicas=1)), Supply(2, 0))

    assert staff["stage0"].bounds == Bounds(1, 4)
    assert staff["stage0"].replicas == 1
    # Five processes must find room on two processors in the end.
    assert {one.num_cpus for one in staff.values()} == {0.4}


def test_a_pool_that_grows_may_ask_for_more_than_there_is() -> None:
    growing = Resources(replicas=Bounds(1, 8), num_gpus=1, num_cpus=1)

    staff = staffing(stages(growing, Resources(replicas=1)), Supply(2, 0))

    assert staff["stage0"].num_gpus == 1
    with pytest.raises(ClusterError, match="must find 1 GPU on the cluster, got 0"):
        staffing(stages(Resources(replicas=1, num_gpus=1)), Supply(2, 0))
