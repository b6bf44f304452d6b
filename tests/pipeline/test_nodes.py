"""Where segments are computed."""

import pytest

from pipeline.cluster import Nodes

HEAD, WORKER, CARD = {"CPU": 0.0}, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("alive", "draining", "needs_gpu", "chosen"),
    [
        ({"h": HEAD, "w": WORKER}, {}, False, ["w"]),
        ({"h": HEAD}, {}, False, ["h"]),
        ({"h": HEAD, "w": WORKER}, {"w": None}, False, ["h"]),
        ({"h": HEAD, "w": WORKER, "c": CARD}, {}, True, ["c"]),
        ({"h": HEAD, "w": WORKER}, {}, True, ["w"]),
        ({}, {}, False, []),
    ],
)
def test_lanes_go_to_nodes_that_stay_and_can_work(
    alive: dict[str, dict[str, float]],
    draining: dict[str, float | None],
    needs_gpu: bool,
    chosen: list[str],
) -> None:
    assert Nodes(alive, draining).for_lanes(needs_gpu=needs_gpu) == chosen
