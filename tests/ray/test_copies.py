"""Copies of real clips by the Ray engine are those that one process makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from roundtrip import TABLES, compare, facts, table, whole_clips
from shared import shared_path

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.timeout(1200),
    pytest.mark.usefixtures("cluster"),
]


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, dict[str, bool]]]:
    """Rows of the table, which the end of the report shows."""
    found: dict[str, dict[str, bool]] = {}
    yield found
    if found:
        request.config.stash.setdefault(TABLES, []).append(table(found, "ray"))


def test_copies_of_all_clips_are_the_same(tmp_path: Path, rows: dict[str, dict[str, bool]]) -> None:
    """In one job: all clips share its processes."""
    names = whole_clips()
    clips = [shared_path(f"clips/{name}") for name in names]
    copies = [tmp_path / f"{number}.mp4" for number in range(len(names))]
    pipelines = [
        Pipeline(VideoSource(clip, keep_hdr=True), [], VideoSink(copy, preset="ultrafast"))
        for clip, copy in zip(clips, copies, strict=True)
    ]

    outcomes = RayRunner(RaySettings(device="cpu", lanes=2)).run_all(pipelines)

    for name, clip, copy, outcome in zip(names, clips, copies, outcomes, strict=True):
        assert not isinstance(outcome, Exception), f"{name}: {outcome}"
        before = facts(clip)
        rows[name] = compare(before, facts(copy))
        assert outcome.frames_out == len(before.times)
    assert all(all(row.values()) for row in rows.values()), rows
