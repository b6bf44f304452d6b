"""Runs the command on damaged files, in a process of its own that may crash or hang."""

import contextlib
import io
import json
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from fuzzing import Reading, mutated, read

from pipeline import cli
from pipeline.errors import InputError, ResourceError

# Far beyond what a case takes on a busy machine (about a second).
DEADLINE_S = 60
SIZE = "36x64"
PICTURES_DIFFER = 6
MODES = ("stop", "keep")
MISSING = re.compile(r"(\d+) of (\d+) frames are missing")


@dataclass(frozen=True)
class Case:
    """A clip, the number of a mutation, and a folder to work in."""

    clip: Path
    number: int
    folder: Path


@dataclass
class Verdict:
    """What came of a case.

    Attributes:
        name: The clip and the mutation.
        suffix: Of the clip.
        outcomes: What the command did, by what it was told to do about errors.
        complaints: Promises that it broke.
    """

    name: str
    suffix: str
    outcomes: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Run:
    """The command after it ended."""

    exit_code: int
    lines: list[str]
    notes: list[str]
    result: Reading | None


class Worker:
    """A process that judges cases, and is started anew when it crashes or hangs."""

    def __init__(self) -> None:
        self._start()

    def judge(self, case: Case) -> Verdict:
        """Judge a case, within the deadline."""
        self._connection.send(case)
        verdict = Verdict(f"{case.clip.name}: mutation {case.number}", case.clip.suffix)
        if not self._connection.poll(DEADLINE_S):
            verdict.complaints.append(f"hung for {DEADLINE_S} s")
        else:
            try:
                judged: Verdict = self._connection.recv()
            except EOFError:
                self._process.join()
                verdict.complaints.append(f"crashed, exit code {self._process.exitcode}")
            else:
                return judged
        self.close()
        self._start()
        return verdict

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        # A fork would inherit the locks of whatever threads the tests have.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def _work(connection: Connection) -> None:
    torch.set_num_threads(1)
    while True:
        connection.send(_judge(connection.recv()))


def _judge(case: Case) -> Verdict:
    data, what = mutated(case.clip.read_bytes(), case.number)
    verdict = Verdict(f"{case.clip.name}: {what}", case.clip.suffix)
    folder = case.folder / str(case.number)
    folder.mkdir()
    source = folder / case.clip.name
    source.write_bytes(data)
    whole, seen = _read_once(case.clip), read(source)
    for mode in MODES:
        # Both kinds of file that people write, in both modes.
        name = ("out.mkv", "out.mp4")[(case.number // len(MODES)) % 2]
        run = _run(source, folder / mode / name, mode)
        told = _outcome(run, seen, whole)
        verdict.outcomes[mode] = told
        complaints = [*_complaints(run, seen, folder / mode), *_CHECKS[mode](run, seen, whole)]
        verdict.complaints += [f"{mode}: {complaint}" for complaint in complaints]
    return verdict


@lru_cache
def _read_once(clip: Path) -> Reading:
    return read(clip)


def _run(source: Path, sink: Path, mode: str) -> _Run:
    sink.parent.mkdir()
    summary = sink.parent.with_suffix(".json")
    model = sink.parent.with_suffix(".py")
    model.write_text("def translate(images):\n    return images\n")
    fast = ("--codec", "ffv1") if sink.suffix == ".mkv" else ("--preset", "ultrafast")
    words = ["run", str(source), str(sink), "--method", "framewise", "--model"]
    words += [f"{model}:translate", "--engine", "local", "--device", "cpu", "--no-progress"]
    words += ["--size", SIZE, "--on-error", mode, "--summary", str(summary), *fast]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        exit_code = cli.main(words)
    facts = json.loads(summary.read_text()) if summary.exists() else {}
    result = read(sink, as_stored=True) if sink.exists() else None
    return _Run(exit_code, told.getvalue().splitlines(), facts.get("notes", []), result)


def _outcome(run: _Run, seen: Reading, whole: Reading) -> str:
    if run.exit_code != 0:
        return "refused" if seen.errors or not _same_times(seen, whole) else "refused unharmed"
    if run.notes:
        return "made, with notes"
    return "made" if len(seen.times) >= len(whole.times) else "made, shorter"


def _same_times(seen: Reading, whole: Reading) -> bool:
    return seen.times == whole.times and seen.sound == whole.sound


def _complaints(run: _Run, seen: Reading, folder: Path) -> Iterator[str]:
    """What must hold for whatever the command was told."""
    left = [path.name for path in folder.iterdir()]
    text = " | ".join(run.lines)
    errors = [line for line in run.lines if not line.startswith("hypercon: warning: ")]
    if "Traceback" in text or "defect" in text:
        yield f"an error nobody thought of: {text}"
    if run.exit_code != 0:
        if run.exit_code not in {InputError.exit_code, ResourceError.exit_code}:
            yield f"exit code {run.exit_code}: {text}"
        if len(errors) != 1 or not errors[0].startswith("hypercon: error: "):
            yield f"not one line: {text}"
        # Segments that were finished are kept for a later run.
        if [name for name in left if not name.endswith(".segments")]:
            yield f"left {left}: {text}"
        return
    result = run.result
    if result is None or len(left) != 1:
        yield f"left {left}: {text}"
        return
    if result.errors:
        yield f"the output cannot be read: {result.errors[0]}"
    if len(result.times) != len(seen.times):
        yield f"{len(result.times)} frames of {len(seen.times)}: {text}"
    elif _shows_all(seen, run) and _difference(result, seen) > PICTURES_DIFFER:
        yield f"pictures differ by {_difference(result, seen):.1f}"
    if "not carried" not in text and "were left out" not in text and not _sounds(result, seen):
        yield f"another sound: {text}"


def _shows_all(seen: Reading, run: _Run) -> bool:
    """Whether pictures can be compared.

    Of damaged pictures VP8 leaves a part as it was in memory, and does not say so.
    """
    return not seen.is_turned and not run.notes and seen.codec != "vp8"


def _sounds(result: Reading, seen: Reading) -> bool:
    """Whether all sound was copied, but for what is before zero."""
    given = list(result.sound.values())
    for index, track in seen.sound.items():
        heard = track[seen.unheard[index] :]
        if heard and not any(one[-len(heard) :] == heard for one in given):
            return False
    wanted = list(seen.sound.values())
    return all(any(track[-len(one) :] == one for track in wanted) for one in given if one)


def _difference(result: Reading, seen: Reading) -> float:
    """The largest mean difference of two pictures, in levels."""
    pairs = zip(result.pictures, seen.pictures, strict=True)
    return max(float(np.abs(one.astype(float) - other).mean()) for one, other in pairs)


def _stopped(run: _Run, seen: Reading, whole: Reading) -> Iterator[str]:
    """What must hold where damage is to end the run."""
    if run.exit_code == 0 and seen.errors:
        yield f"a film was made in spite of: {seen.errors[0]} ({len(seen.errors)})"
    # A trimmed film looks like one whose edit list has a wrong bit: of both it is said.
    if run.exit_code == 0 and len(seen.times) < len(whole.times) and not run.notes:
        yield f"a shorter film was made: {len(seen.times)} of {len(whole.times)} frames"


def _kept(run: _Run, seen: Reading, whole: Reading) -> Iterator[str]:
    """What must hold where all is to be kept."""
    text = " | ".join(run.lines)
    if run.exit_code != 0:
        if seen.times:
            yield f"nothing was kept of {len(seen.times)} frames: {text}"
        return
    if seen.errors and not run.notes:
        yield f"not a word about: {seen.errors[0]}"
    if len(seen.times) < len(whole.times) and not run.notes:
        yield f"not a word about {len(seen.times)} of {len(whole.times)} frames"
    for missing, promised in MISSING.findall(" ".join(run.notes)):
        if run.result is not None and len(run.result.times) != int(promised) - int(missing):
            yield f"{len(run.result.times)} frames, but {missing} of {promised} are missing"


_CHECKS = {"stop": _stopped, "keep": _kept}
