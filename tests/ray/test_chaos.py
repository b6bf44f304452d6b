"""Many random deaths, and every run still exact."""

from collections import Counter
from pathlib import Path

import pytest
from agreement import Output, assert_same, source, stages
from parts import Wavy
from reaper import ROLES, Reaper
from streams import ArraySink

from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("cluster"),
]

NUM_RUNS = 10
LEAST_KILLS = 30


def test_ten_runs_with_thirty_deaths_are_all_exact(tmp_path: Path, expected: Output) -> None:
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", lanes=2)
    killed: Counter[str] = Counter()
    for seed in range(NUM_RUNS):
        path = tmp_path / f"{seed}.npz"
        # A video survives three deaths of its coordinator; bad luck may not exceed that.
        reaper = Reaper(
            seed,
            every=(5, 25),
            most=4,
            most_by_role={"Coordinator": 2},
            first=ROLES[seed % len(ROLES)],
        )
        RayRunner(settings, key=str(seed), progress=reaper).run(
            Pipeline(source(), stages(Wavy(seconds=0.3)), ArraySink(path))
        )
        assert_same(path, expected)
        killed += reaper.killed

    assert killed.total() >= LEAST_KILLS, killed
    assert set(killed) == set(ROLES), killed
