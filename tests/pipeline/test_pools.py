"""Pools stay between their bounds, and end only whom nobody needs or who has grown too large."""

import pytest
from mock_pools import LATE, Town
from ray.exceptions import RayTaskError

from operators.errors import ModelError
from pipeline import pools
from pipeline.bounds import Bounds
from pipeline.pools import LAST_WORD_S
from pipeline.ray_settings import RaySettings


def test_who_is_hired_works_only_when_its_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 4))

    assert not town.look(LATE)
    assert (len(town.agency.hired), town.names) == (1, ["w0"])
    assert not town.look(LATE)
    assert len(town.agency.hired) == 1  # Who was asked for must come first.
    town.agency.hired[0].answer = "b"
    assert town.look()

    assert town.names == ["w0", "hired0"]
    assert town.pools.staffing.pools["translate"][1].node == "b"
    assert not town.look()


def test_who_cannot_load_its_model_is_ended_and_never_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.agency.hired[0].answer = RayTaskError("ready", "", ModelError("no weights here"))
    assert not town.look()

    assert town.killed == ["hired0"]
    assert town.names == ["w0"]


def test_after_one_that_cannot_load_its_model_the_next_is_asked_for_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a pool that wants to grow would start processes without end."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    seen = []
    for _ in range(600):
        for one in town.agency.hired:
            one.answer = RayTaskError("ready", "", ModelError("no weights here"))
        town.look(LATE)
        seen.append(len(town.agency.hired))

    # Waits of 2, 4, 8, 16, 32, 60, 60, ... seconds: some 15 in 600 s, and not 600.
    assert 10 <= seen[-1] <= 20
    assert seen[70] - seen[60] <= 1


def test_who_does_not_start_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.look(after_s=RaySettings().start_s - 1)
    assert town.killed == []
    town.look(after_s=2)

    assert town.killed == ["hired0"]


def test_who_is_idle_for_long_is_sent_nothing_at_once_and_ended_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads["w0"] = 1
    town.look()

    assert not town.look(after_s=RaySettings().idle_s - 1)
    assert town.look(after_s=2)
    assert town.names == ["w0"]
    assert town.killed == []
    town.look(after_s=60)

    assert town.killed == ["w1"]


def test_who_is_to_be_ended_finishes_what_it_was_still_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coordinator that had not heard of it yet may have sent a chunk."""
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads["w0"] = 1
    town.look()
    town.look(after_s=61)

    town.loads["w1"] = 1
    town.look(after_s=60)
    town.look(after_s=60)
    assert town.killed == []
    town.loads["w1"] = 0
    town.look()
    assert town.killed == []
    town.look(after_s=60)

    assert town.killed == ["w1"]


def test_who_has_grown_too_large_starts_again_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has room for another process to be there first."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))

    town.see("w0", held_bytes=1000)
    town.look()
    assert town.first[0].restarts == 0
    for held in (1001, 200, 1500, 1500):
        town.see("w0", held_bytes=held)
        # Nothing has come back since.
        town.look()
        town.look()

    assert town.first[0].restarts == 3
    assert (town.names, town.killed, town.agency.hired) == (["w0"], [], [])


def test_what_was_on_its_way_when_its_process_was_ended_does_not_end_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.see("w0", held_bytes=1001)
    town.look()

    town.see("w0", held_bytes=1001, ended=1)
    town.look()
    assert town.first[0].restarts == 1
    town.see("w0", held_bytes=1001)
    town.look()

    assert town.first[0].restarts == 2


def test_who_is_seen_at_work_long_after_it_was_ended_is_ended_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray may not have heard of it, having just begun again itself."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.see("w0", held_bytes=1001)
    town.look()

    town.look(after_s=2 * LAST_WORD_S)
    assert town.first[0].restarts == 1  # Nothing was heard at all.
    town.see("w0", held_bytes=1001, ended=1)
    town.look()

    assert town.first[0].restarts == 2


def test_of_a_pool_that_leaks_one_at_a_time_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(2, 2))

    town.see("w0", held_bytes=2000)
    town.see("w1", held_bytes=3000)
    town.look()
    town.look()
    assert [one.restarts for one in town.first] == [1, 0]
    town.see("w0", held_bytes=100)
    town.look()

    assert [one.restarts for one in town.first] == [1, 1]


def test_at_the_end_nobody_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who work, those who are to go, and those who have not come yet."""
    town = Town(monkeypatch, "a", "a", "b", bounds=Bounds(1, 8))
    town.draining = {"b"}
    town.loads.update(["w0", "w1", "w2"])
    town.look(LATE)

    town.pools.dismiss()

    assert sorted(town.killed) == sorted(one.name for one in (*town.first, *town.agency.hired))


def test_a_replica_makes_room_where_nobody_who_waits_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", "b", bounds=Bounds(3, 3))
    town.agency.num_gpus = 1.0
    town.alive.remove("a")
    town.look()
    assert [one.name for one in town.agency.hired] == ["hired0"]

    assert town.pools.make_room()
    assert not town.pools.make_room()

    # One goes, and so does the one that waits for a GPU; neither is replaced at once.
    town.look()
    assert town.names == ["w1"]
    assert {"w0", "hired0"} <= set(town.killed)
    town.look(after_s=5)
    town.look(after_s=5)
    assert set(town.killed) == {"w0", "hired0", "w2"}
    assert len(town.agency.hired) == 1
    town.look(after_s=pools.MOST_WAIT_S)
    assert len(town.agency.hired) == 3


def test_the_last_replica_makes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.agency.num_gpus = 1.0

    assert not town.pools.make_room()

    assert town.names == ["w0"]
    assert town.killed == []
