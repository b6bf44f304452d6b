"""The engine gives what the local runner gives, whatever the number of processes, whatever dies."""

import os
import signal
import sys
from pathlib import Path

import killed_job
import pytest
import ray
from agreement import NUM_FRAMES, SHORT, Output, Watching, assert_same, frames, source, stages
from parts import SLOW_S, Flags, MischievousSource, MortalSink, Passing, Wavy
from reaper import commands_of, session_name
from streams import ArraySink, ListSource, read_arrays

from operators.errors import ModelError
from pipeline import driver
from pipeline.crew import dismiss, hire
from pipeline.errors import ClusterError, InputError, QuarantineError, UsageError
from pipeline.local_runner import LocalRunner
from pipeline.ray_runner import RayRunner, plan_crew
from pipeline.ray_settings import RaySettings
from pipeline.report import RunReport
from pipeline.seats import new_chair
from pipeline.stage import Pipeline, Resources, Stage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240), pytest.mark.usefixtures("cluster")]


def _worked(report: RunReport) -> dict[str, int]:
    """How many frames each operator took."""
    return {stage.name: stage.frames for stage in report.stages[1:-1]}


# Replicas of the translator, frames of a segment, frames of a chunk. With the rest every number of
# the first two meets two of the other.
AMONG_OTHERS = [(1, 64, 4), (2, 7, 2), (5, 5, 3)]
THE_REST = [(1, 5, 2), (2, 64, 3), (5, 7, 4)]


@pytest.mark.parametrize(
    ("translators", "segment_frames", "chunk_frames"),
    [*AMONG_OTHERS, *(pytest.param(*one, marks=pytest.mark.slow) for one in THE_REST)],
)
def test_any_number_of_processes_gives_the_same_frames(
    tmp_path: Path, expected: Output, translators: int, segment_frames: int, chunk_frames: int
) -> None:
    settings = RaySettings(segment_frames=segment_frames, chunk_frames=chunk_frames, device="cpu")
    path = tmp_path / "out.npz"

    report = RayRunner(settings).run(
        Pipeline(source(), stages(Wavy(), translators), ArraySink(path))
    )

    assert_same(path, expected)
    assert (report.frames_in, report.frames_out) == (NUM_FRAMES, NUM_FRAMES)
    # Nor is more worked on.
    alone = LocalRunner("cpu", segment_frames=segment_frames).run(
        Pipeline(source(), stages(Wavy()), ArraySink(tmp_path / "alone.npz"))
    )
    assert _worked(report) == _worked(alone)


@pytest.mark.parametrize(
    "places",
    [
        ["survey"],
        ["decode"],
        ["translate"],
        ["pass"],
        ["encode"],
        ["coordinator"],
        ["coordinator at the end"],
        ["survey", "decode", "translate", "pass", "encode", "coordinator"],
    ],
    ids="+".join,
)
def test_processes_that_die_anywhere_are_replaced(
    tmp_path: Path, expected: Output, flags: Flags, places: list[str]
) -> None:
    flags.raise_(*places)
    path = tmp_path / "out.npz"
    pipeline = Pipeline(
        MischievousSource(frames(), flags),
        [*stages(Wavy(flags)), Passing(flags)],
        MortalSink(path, flags),
    )

    report = RayRunner(SHORT).run(pipeline)

    assert flags.left() == []
    assert_same(path, expected)
    assert (report.frames_out, report.frames_resumed) == (NUM_FRAMES, 0)


def test_what_a_coordinator_made_that_died_unseen_was_not_taken_over_from_another_run(
    tmp_path: Path, expected: Output, flags: Flags, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short video is done before anybody has looked at it; then its coordinator dies."""
    monkeypatch.setattr(driver, "ALONE_POLL_S", 60.0)
    flags.raise_("coordinator")
    path = tmp_path / "out.npz"

    report = RayRunner(SHORT).run(Pipeline(source(), stages(Wavy()), MortalSink(path, flags)))

    assert flags.left() == []
    assert_same(path, expected)
    assert (report.frames_out, report.frames_resumed) == (NUM_FRAMES, 0)


@pytest.mark.parametrize("hangs", [["hang"], ["hang", "hang again"]], ids="+".join)
def test_a_process_that_hangs_is_replaced(
    tmp_path: Path, expected: Output, flags: Flags, hangs: list[str]
) -> None:
    """Hung twice, it must not keep the next attempt waiting either."""
    flags.raise_(*hangs)
    path = tmp_path / "out.npz"
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", stall_s=10)

    RayRunner(settings).run(Pipeline(source(), stages(Wavy(flags), 1), ArraySink(path)))

    assert flags.left() == []
    assert_same(path, expected)


@pytest.mark.slow
def test_a_process_may_load_for_longer_than_work_may_stand_still(
    tmp_path: Path, expected: Output, flags: Flags
) -> None:
    flags.raise_("pass, then load slowly")
    path = tmp_path / "out.npz"
    settings = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", stall_s=SLOW_S / 2)
    chain = [*stages(Wavy()), Passing(flags)]

    RayRunner(settings).run(Pipeline(source(), chain, ArraySink(path)))

    assert flags.left() == []
    assert_same(path, expected)


def test_a_frame_that_always_fails_is_named_and_the_rest_is_kept_for_later(
    tmp_path: Path, expected: Output
) -> None:
    path = tmp_path / "out.npz"
    poison = round(float(source()._frames[9].image[0, 0, 0]) * 255)
    runner = RayRunner(SHORT, key="same")

    with pytest.raises(
        QuarantineError,
        match=r"segment 1 \(frames 7 to 13\) failed 3 times: stage 'translate' failed at frame 9 "
        r".*this picture is poison",
    ):
        runner.run(Pipeline(source(), stages(Wavy(poison=poison)), ArraySink(path)))
    assert not path.exists()
    report = runner.run(Pipeline(source(), stages(Wavy()), ArraySink(path)))

    assert report.frames_resumed >= NUM_FRAMES - 7 - 7
    assert_same(path, expected)


def test_a_model_that_cannot_be_loaded_ends_the_job_in_one_line(tmp_path: Path) -> None:
    pipeline = Pipeline(source(), stages(Wavy(is_broken=True)), ArraySink(tmp_path / "out.npz"))

    with pytest.raises(ModelError, match="stage 'translate' failed to set up: weights of 'wavy'"):
        RayRunner(SHORT).run(pipeline)


def test_many_videos_share_the_processes_and_one_that_fails_stops_no_other(
    tmp_path: Path, expected: Output
) -> None:
    short = ListSource(frames()[:5])
    torn = ListSource(source()._frames, fail_at=12, error=InputError("torn.mp4: ends at 12"))
    sources = [source(), torn, short, source()]
    chain = stages(Wavy())
    pipelines = [
        Pipeline(one, chain, ArraySink(tmp_path / f"{n}.npz")) for n, one in enumerate(sources)
    ]

    watching = Watching()

    outcomes = RayRunner(SHORT, progress=watching).run_all(pipelines)

    assert [isinstance(outcome, RunReport) for outcome in outcomes] == [True, False, True, True]
    assert "torn.mp4: ends at 12" in str(outcomes[1])
    for n in (0, 3):
        assert_same(tmp_path / f"{n}.npz", expected)
    assert read_arrays(tmp_path / "2.npz")[0].shape[0] == 5
    assert watching.states[0].num_videos == 4
    last = watching.states[-1]
    # What is known of the video that failed is counted too.
    assert (last.videos_done, last.num_frames, last.is_estimate) == (4, 3 * NUM_FRAMES + 5, False)
    # A call that is given up before it is sent leaves a gap in what its actor expects, and the
    # actor waits for it half a minute before it takes the next.
    assert "Timed out waiting for seq_no" not in logs_of_workers()


def logs_of_workers() -> str:
    """What Ray's own code has written in the processes of the session so far."""
    folder = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    return "".join(
        path.read_text(errors="replace") for path in folder.glob("python-core-worker*.log")
    )


def test_a_session_of_our_own_has_no_process_that_reads_logs_for_nobody() -> None:
    commands = commands_of(session_name()).values()

    assert any("raylet/raylet" in command for command in commands)
    assert not any("log_monitor" in command for command in commands)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has batch processes")
def test_no_process_of_the_engine_interrupts_another_when_it_wakes() -> None:
    pipeline = Pipeline(source(), stages(Wavy(), 1), ArraySink(Path("unused.npz")))
    hiring, _ = plan_crew(pipeline, 1, RaySettings(device="cpu"))
    crew, chair = hire(hiring, 1, start_s=120.0), new_chair(hiring.loads, 0)
    actors = [*(worker.actor for worker in crew.workers()), chair.actor]

    asked = [
        one.__ray_call__.remote(lambda _: os.sched_getscheduler(os.getpid())) for one in actors
    ]
    policies = ray.get(asked)
    dismiss(crew.workers())
    ray.kill(chair.actor)

    assert policies == [os.SCHED_BATCH] * len(actors)


def test_a_cluster_that_is_too_small_is_said_so(tmp_path: Path) -> None:
    interpolate, translate, aggregate = stages(Wavy())
    greedy = Stage(translate.operator, translate.name, Resources(replicas=1, num_gpus=2))
    pipeline = Pipeline(source(), [interpolate, greedy, aggregate], ArraySink(tmp_path / "o.npz"))

    with pytest.raises(ClusterError, match=r"stage 'translate' must find 2 GPU .* got 0"):
        RayRunner(SHORT).run(pipeline)


def test_a_sink_that_cannot_join_is_refused(tmp_path: Path) -> None:
    class Plain:
        name = "plain"

        def open(self, info: object) -> None: ...
        def write(self, frame: object) -> None: ...
        def close(self) -> None: ...
        def abort(self) -> None: ...

    with pytest.raises(UsageError, match="must be given a sink that joins segments, got Plain"):
        RayRunner(SHORT).run(Pipeline(source(), stages(Wavy()), Plain()))


@pytest.mark.slow
def test_the_same_command_finishes_what_a_killed_one_began(
    tmp_path: Path, expected: Output
) -> None:
    """The driver and everything it started is killed; the second run redoes what was open."""
    path = tmp_path / "out.npz"
    job = killed_job.begun(path)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert not path.exists()

    report = RayRunner(SHORT, key="killed").run(Pipeline(source(), stages(Wavy()), ArraySink(path)))

    assert report.frames_resumed >= 7
    assert_same(path, expected)
