"""Places that cannot be written, full disks, interruptions: one line, and nothing is left."""

import errno
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip
from command import (
    NO_DELAY,
    OUTPUTS,
    PREFIX,
    Refused,
    contents,
    in_a_process,
    write_image,
)

pytestmark = pytest.mark.usefixtures("process_as_it_was")


# --- where it is written


@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("absent/out.mp4", "the folder of output"),
        ("absent/out", "the folder of output"),
        ("in.mp4/out.mp4", "the folder of output"),
        (f"{'a' * 300}.mp4", "a name must be shorter"),
        ("out.gif2", "output must end in one of"),
        ("out.png", "output must end in one of"),
        ("taken.mp4", "output must not exist unless it may be overwritten"),
        ("taken", "output must not exist unless it may be overwritten"),
        ("in.mp4", "output must be another place than the input"),
        ("./in.mp4", "output must be another place than the input"),
    ],
)
def test_an_output_that_cannot_be_written(
    output: str, rule: str, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    (tmp_path / "taken").mkdir()

    assert refused(2, clip, tmp_path / output).startswith(rule)


@pytest.mark.parametrize("output", ["taken.mp4", "taken"])
def test_a_run_that_fails_leaves_what_it_was_to_overwrite(
    output: str, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    write_image(tmp_path / "taken" / "00000.png")
    (tmp_path / "net.py").write_text("def translate(images): raise ValueError('no')\n")

    words = ["--overwrite", "--model", f"{tmp_path}/net.py:translate"]
    refused(5, clip, tmp_path / output, *words)


def test_a_folder_of_other_things_is_not_overwritten(
    refused: Refused, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")

    assert "thesis.tex" in refused(2, clip, tmp_path / "taken", "--overwrite")


def test_an_encoder_that_is_unknown_or_has_no_video_to_encode(
    refused: Refused, clip: Path, tmp_path: Path
) -> None:
    assert "libx264" in refused(2, clip, tmp_path / "out.mp4", "--codec", "libx624")
    assert "codec must be one of png" in refused(2, clip, tmp_path / "out", "--codec", "libx264")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aggregate:\n  raduis: 3\n", "did you mean"),
        ("aggregate: [", "run.yaml"),
        ("- 1\n- 2\n", "run.yaml"),
    ],
    ids=["unknown-key", "broken", "a-list"],
)
def test_a_configuration_file_that_cannot_be_used(
    text: str, message: str, refused: Refused, clip: Path, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)

    assert message in refused(2, clip, tmp_path / "out.mp4", "--config", str(file))


# --- what happens to the machine


def noisy_planes(number: int, height: int, width: int) -> list[np.ndarray]:
    """What no encoder makes small."""
    generator = np.random.default_rng(number)
    return [generator.integers(16, 236, (height, width)) for _ in range(3)]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_disk_that_fills_up(output: str, tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk: writing fails in the same way."""
    source = write_clip(tmp_path / "in.mkv", size=(64, 96), codec="ffv1", planes=noisy_planes)
    before = contents(tmp_path)
    words = ["run", str(source), str(tmp_path / output), *NO_DELAY[output], "--model", "identity"]

    process = in_a_process(
        *words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    )
    out, err = process.communicate()

    assert (process.returncode, out, len(err.splitlines())) == (6, "", 1)
    # The output that the user gave, not the hidden segment that was being written.
    assert err.startswith(f"{PREFIX}{tmp_path / output} must fit on its disk, got ")
    assert contents(tmp_path) == before


def test_a_disk_that_is_full_when_the_output_is_finished(
    refused: Refused, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)

    for name in ("out.mp4", "out"):
        message = refused(6, clip, tmp_path / name, "--model", "identity")
        assert message == f"{tmp_path / name} must fit on its disk, got No space left on device"


@pytest.mark.parametrize(
    ("number", "output", "exit_code"),
    [(signal.SIGINT, "out.mkv", 130), (signal.SIGTERM, "out", 143)],
)
def test_an_interruption_in_the_middle(
    number: signal.Signals, output: str, exit_code: int, clip: Path, tmp_path: Path
) -> None:
    model = tmp_path / "net.py"
    model.write_text(
        "import threading\n"
        "calls = []\n"
        "def translate(images):\n"
        "    calls.append(len(images))\n"
        "    if len(calls) == 5:\n"
        "        print('ready', flush=True)\n"
        "        threading.Event().wait(60)\n"
        "    return images\n"
    )
    before = contents(tmp_path)
    words = ["run", str(clip), str(tmp_path / output), "--model", f"{model}:translate"]

    process = in_a_process(*words, *NO_DELAY[output])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    during = contents(tmp_path).keys() - before.keys()
    process.send_signal(number)
    _, err = process.communicate()

    assert process.returncode == exit_code
    assert err == f"{PREFIX}interrupted; the same command again goes on where it stopped\n"
    # There was something to clean up, and it has never had the final name.
    assert during
    assert output not in during
    assert contents(tmp_path) == before
