"""Where processes are on several nodes, and what becomes of a node that lacks a disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from agreement import Output, assert_same, frames, source, stages
from parts import DistantSink, DistantSource, Ground, Wavy
from streams import ArraySink, ListSource
from three_nodes import three_nodes

from pipeline import suspects
from pipeline.cluster import here
from pipeline.crew import dismiss, hire
from pipeline.ray_runner import RayRunner, plan_crew
from pipeline.ray_settings import RaySettings
from pipeline.report import RunReport
from pipeline.seats import new_chair
from pipeline.stage import Pipeline

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[None]:
    """Three of them."""
    with three_nodes():
        yield


@pytest.mark.usefixtures("nodes")
def test_what_a_segment_needs_is_on_one_node_and_its_coordinator_with_the_driver() -> None:
    """Frames that cross from node to node for nothing cost more than all else."""
    pipeline = Pipeline(source(), stages(Wavy(), 3), ArraySink(Path("unused.npz")))
    hiring, num_lanes = plan_crew(pipeline, 1, RaySettings(device="cpu", lanes=3))
    crew = hire(hiring, num_lanes, start_s=120.0)
    chair = new_chair(hiring.loads, 0)
    places = [[place(worker.actor) for worker in lane.workers()] for lane in crew.lanes]
    place_of_chair = place(chair.actor)
    dismiss(crew.workers())
    ray.kill(chair.actor)

    assert places == [[lane.node] * 3 for lane in crew.lanes]
    assert len({lane.node for lane in crew.lanes}) == 3
    assert place_of_chair == here()


def place(actor: Any) -> str:
    """On which node an actor is."""
    node: str = ray.get(actor.__ray_call__.remote(lambda _: here()))
    return node


@pytest.mark.usefixtures("nodes")
def test_a_node_that_lacks_a_disk_computes_nothing_and_costs_no_frame(
    expected: Output, tmp_path: Path
) -> None:
    """What it cannot read or write is computed elsewhere."""
    path, ground = tmp_path / "out.npz", Ground(tmp_path)
    distant = DistantSource(frames(), ground)
    settings = RaySettings(segment_frames=3, device="cpu", lanes=3)

    report = RayRunner(settings).run(
        Pipeline(distant, stages(Wavy(), 3), DistantSink(path, ground))
    )

    assert 1 <= report.retries <= 3
    assert_same(path, expected)


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("part", ["source", "sink"])
def test_of_many_videos_those_that_such_a_node_is_given_are_computed_elsewhere(
    part: str,
    expected: Output,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has one lane, and none of its own to turn to."""
    # Also on a machine that takes longer for all of them than a node is given nothing.
    monkeypatch.setattr(suspects, "FIRST_S", 600.0)
    ground = Ground(tmp_path)
    paths = [tmp_path / f"out-{number}.npz" for number in range(5)]
    pipelines = [
        Pipeline(
            DistantSource(frames(), ground) if part == "source" else source(),
            stages(Wavy(), 3),
            DistantSink(path, ground) if part == "sink" else ArraySink(path),
        )
        for path in paths
    ]
    settings = RaySettings(segment_frames=7, device="cpu", lanes=3)

    reports = RayRunner(settings).run_all(pipelines)

    assert [type(report) for report in reports] == [RunReport] * 5
    for path in paths:
        assert_same(path, expected)
    # From then on the node is given nothing while others compute.
    assert caplog.text.count("it is begun again on another node") == 1


@pytest.mark.usefixtures("nodes")
def test_of_many_videos_one_that_cannot_be_read_anywhere_fails_and_no_other(
    expected: Output, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried on two more nodes, and none of them is blamed for it."""
    paths = [tmp_path / f"out-{number}.npz" for number in range(4)]
    sources = [ListSource([]), *(source() for _ in paths[1:])]
    pipelines = [
        Pipeline(one, stages(Wavy(), 3), ArraySink(path))
        for one, path in zip(sources, paths, strict=True)
    ]

    failure, *reports = RayRunner(RaySettings(device="cpu", lanes=3)).run_all(pipelines)

    assert str(failure) == "list: input must have at least one frame, got none"
    assert not paths[0].exists()
    assert [type(report) for report in reports] == [RunReport] * 3
    for path in paths[1:]:
        assert_same(path, expected)
    assert caplog.text.count("it is begun again on another node") == 2
