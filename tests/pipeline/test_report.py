"""What follows from the counts and times of a run."""

import json

import pytest

from pipeline.report import RunReport, StageReport


def of_two_translators(frames_resumed: int = 0, halo_frames: int = 0) -> RunReport:
    """90 new frames in 60 s after 6 s of set-up; a frame takes a translator 1.2 s."""
    new_frames = 90
    taken = new_frames + halo_frames
    return RunReport(
        frames_in=new_frames + frames_resumed,
        frames_out=new_frames + frames_resumed,
        frames_resumed=frames_resumed,
        wall_s=66.0,
        setup_s=6.0,
        stages=[
            StageReport("decode", taken, 12.0),
            StageReport("translate", taken, 1.2 * taken, workers=2),
            StageReport("encode", new_frames, 12.0, workers=0.5),
        ],
    )


def test_the_rate_does_not_count_the_set_up() -> None:
    assert of_two_translators().fps == pytest.approx(90 / 60)


def test_efficiency_is_the_rate_over_that_of_the_translators_alone() -> None:
    """Two translators make 2 / 1.2 frames a second, of which the run reached 1.5."""
    report = of_two_translators()

    assert report.stages[1].fps == pytest.approx(2 / 1.2)
    assert report.efficiency == pytest.approx(1.5 * 1.2 / 2)


def test_what_an_earlier_run_had_made_makes_no_run_fast() -> None:
    report = of_two_translators(frames_resumed=1000)

    assert report.fps == pytest.approx(1.5)
    assert report.efficiency == of_two_translators().efficiency


def test_frames_that_are_translated_twice_do_not_count_twice() -> None:
    """Translators that never wait, but spend a tenth of their time on halos."""
    report = of_two_translators(halo_frames=10)

    assert report.busy_share(report.stages[1]) == pytest.approx(1)
    assert report.efficiency == pytest.approx(0.9)


def test_one_process_that_does_everything_is_as_efficient_as_its_translator_is_busy() -> None:
    report = RunReport(
        frames_out=10,
        wall_s=20.0,
        stages=[StageReport("decode", 10, 4.0), StageReport("translate", 10, 15.0)],
    )

    assert report.efficiency == pytest.approx(15 / 20)


@pytest.mark.parametrize(
    "report",
    [
        RunReport(),
        RunReport(frames_out=9, wall_s=3.0, stages=[StageReport("inpaint", 9, 1.0)]),
        RunReport(frames_out=9, frames_resumed=9, wall_s=3.0, stages=[StageReport("translate")]),
    ],
    ids=["nothing", "no translator", "all taken over"],
)
def test_without_translation_there_is_no_efficiency(report: RunReport) -> None:
    assert report.efficiency is None


def test_a_run_that_made_nothing_new_has_no_rate() -> None:
    assert RunReport().fps is None
    assert RunReport(frames_out=9, frames_resumed=9, wall_s=3.0).fps is None


def test_the_bottleneck_is_the_stage_whose_workers_have_least_time_left() -> None:
    """Encoding was busy 12 of the 30 s that half a worker had; each translator 54 of 60."""
    report = of_two_translators()

    shares = [report.busy_share(stage) for stage in report.stages]
    assert shares == pytest.approx([12 / 60, 108 / 120, 12 / 30])
    assert report.bottleneck == "translate"


def test_of_equally_busy_stages_the_later_is_the_bottleneck() -> None:
    stages = [StageReport("a", 1, 2.0), StageReport("b", 1, 2.0), StageReport("c", 1, 1.0)]

    assert RunReport(frames_out=1, wall_s=9.0, stages=stages).bottleneck == "b"
    assert RunReport(frames_out=1, wall_s=9.0).bottleneck is None


def test_a_run_that_took_no_time_divides_by_nothing() -> None:
    report = RunReport(frames_out=1, wall_s=0.0, stages=[StageReport("translate", 1, 0.0)])

    assert (report.fps, report.efficiency, report.busy_share(report.stages[0])) == (None, None, 0)


def test_the_summary_holds_everything() -> None:
    report = of_two_translators(frames_resumed=10)

    written = json.loads(json.dumps(report.to_dict()))

    assert {name: written[name] for name in ("frames_in", "frames_out", "frames_resumed")} == {
        "frames_in": 100,
        "frames_out": 100,
        "frames_resumed": 10,
    }
    assert (written["wall_s"], written["setup_s"], written["busy_s"]) == (66, 6, 132)
    assert written["fps"] == pytest.approx(1.5)
    assert written["efficiency"] == pytest.approx(0.9)
    assert written["bottleneck"] == "translate"
    assert written["stages"][1] == {
        "name": "translate",
        "frames": 90,
        "busy_s": pytest.approx(108),
        "workers": 2,
        "fps": pytest.approx(2 / 1.2),
        "busy_share": pytest.approx(0.9),
    }
