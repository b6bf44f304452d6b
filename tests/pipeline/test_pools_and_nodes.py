"""Replicas are lost with their nodes, leave them in time, and come with new ones."""

import pytest
from mock_pools import LATE, Town

from pipeline.bounds import Bounds


def test_a_draining_node_is_left_and_its_last_replica_waits_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads.update(["w0", "w1"])
    town.draining = {"a"}

    assert town.look()
    assert town.names == ["w1"]
    assert len(town.agency.hired) == 1
    town.look()
    assert len(town.agency.hired) == 1
    town.agency.hired[0].answer = "b"
    town.look()

    assert town.names == ["hired0"]
    assert town.killed == []  # Both still have a chunk in hand.


def test_who_was_started_again_elsewhere_is_known_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", bounds=Bounds(2, 2))

    town.see("w0", node="c")
    assert town.look()
    assert not town.look()
    town.alive.remove("a")
    assert not town.look()
    town.alive.remove("c")
    town.look()

    assert (town.names, town.killed) == (["w1"], ["w0"])


def test_who_joins_with_a_node_that_nobody_has_seen_yet_is_not_lost_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes are asked for now and then; a replica may be there before anybody does."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.agency.hired[0].answer = "new"
    assert town.look_again()
    town.look_again()
    assert (town.names, town.killed) == (["w0", "hired0"], [])
    town.alive.add("new")
    town.look()
    assert (town.names, town.killed) == (["w0", "hired0"], [])
    town.alive.remove("new")
    town.look()

    assert (town.names, town.killed) == (["w0"], ["hired0"])


def test_who_joins_and_is_lost_before_anybody_has_seen_its_node_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)
    town.agency.hired[0].answer = "new"
    town.look_again()

    town.look()

    assert town.pools.staffing.lost == {"hired0"}


def test_who_is_lost_with_its_node_is_told_of_and_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", bounds=Bounds(2, 2))

    town.alive.remove("a")
    assert town.look()

    assert town.names == ["w1"]
    assert town.pools.staffing.lost == {"w0"}
    for one in (*town.first, *town.agency.hired):
        one.answer = "c"
    assert town.look()
    assert len(town.names) == 2


def test_who_is_to_be_ended_and_is_lost_with_its_node_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that is drained goes while a chunk is still there: nothing more will come of it."""
    town = Town(monkeypatch, "a", "b", bounds=Bounds(1, 2))
    town.draining = {"a"}
    town.loads.update(["w0", "w1"])
    town.look()
    assert town.names == ["w1"]

    town.alive.remove("a")
    assert town.look()

    assert town.pools.staffing.lost == {"w0"}
    assert town.killed == ["w0"]
