"""The finished segments of an output, kept so that a run can die at any moment and be resumed."""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import SegmentError, UsageError
from pipeline.io.journal import Entry, Journal
from pipeline.io.part_file import disk_space, synchronise, synchronise_all

_LOCK = "lock"
_JOINING = "joining.json"


def segment_folder(output: Path) -> Path:
    """Where the segments of an output are kept: a hidden folder beside it, named after it."""
    place = output.resolve()
    return place.parent / f".{place.name}.segments"


class SegmentStore:
    """The committed segments of one output, in ``<folder>/<key>``.

    One owner in one process opens it (a context manager that holds the lock), asks for paths,
    hands them to workers on the same file system, and commits what they wrote. A segment is
    committed when it has its final name and the journal its line; what is less is ignored and
    made again. Nothing is created before ``open``.

    Args:
        folder: That of the output, :func:`segment_folder`.
        key: Names configuration and input; segments of another key are never read. Letters,
            digits, ``-`` and ``_``.
        suffix: What names of segments end in, ``SegmentedSink.segment_suffix``.
        name: What messages of a full disk call the output; None for the folder.
        run: Names the run in what it commits; empty for a name that no other will have.

    Raises:
        ValueError: If ``key`` has other characters or is empty.
    """

    def __init__(
        self, folder: Path, key: str, suffix: str, *, name: str | None = None, run: str = ""
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            msg = f"key must be letters, digits, - and _, got {key!r}"
            raise ValueError(msg)
        self._root = folder
        self._folder = folder / key
        self._key = key
        self._suffix = suffix
        self._name = name or str(folder)
        self._journal = Journal(self._folder / "journal.jsonl", key, self._final_path)
        self._cuts = self._folder / "cuts.json"
        self._lock: int | None = None
        # Writers that outlive an owner must not write where the next one's do.
        self._owner = secrets.token_hex(4)
        self.run = run or self._owner
        self._committed: dict[int, Entry] | None = None

    def open(self) -> None:
        """Take the lock, and clear away what an earlier run left unfinished.

        Raises:
            UsageError: If another run holds it, or the folder cannot be written.
            ResourceError: If the disk is full.
        """
        if self._lock is not None:
            return
        try:
            with disk_space(self._name):
                self._lock = _locked(self._root / _LOCK)
                self._folder.mkdir(exist_ok=True)
                self._clear_unfinished()
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            self.close()
            msg = f"{self._root} must be a folder that can be written, got {error.strerror}"
            raise UsageError(msg) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back; segments stay. May be called at any time, more than once."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        self._committed = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def entries(self) -> dict[int, Entry]:
        """The committed segments by index, ascending, of which size and checksum are right.

        Every segment is read once to see that.
        """
        claims: dict[int, list[Entry]] = {}
        for claim in self._journal.claims():
            claims.setdefault(claim.index, []).append(claim)
        found = (_last_true(claims[index]) for index in sorted(claims))
        entries = {entry.index: entry for entry in found if entry is not None}
        if self._lock is not None:
            # Reading all of them takes long, and nobody else can add any.
            self._committed = dict(entries)
        return entries

    def has_claims(self) -> bool:
        """Whether any segment was committed, be it still there or not: nothing of it is read."""
        return any(True for _ in self._journal.claims())

    def part_path(self, index: int, attempt: int) -> Path:
        """Where a worker writes an attempt at a segment; no two attempts or owners share it.

        Args:
            index: Number of the segment.
            attempt: Number of the attempt.
        """
        return self._folder / f"{index:05d}.{self._owner}.{attempt}{self._suffix}"

    def commit(self, index: int, first: int, stop: int, part: Path, attempt: int) -> Entry:
        """Make a written segment count, durably.

        The first commit of an index wins: ``part`` of a later one is removed and the entry of
        the first returned.

        Args:
            index: Number of the segment.
            first: First frame that it holds.
            stop: One past the last frame that it holds.
            part: What the worker wrote, as ``part_path(index, attempt)`` named it.
            attempt: Number of the attempt, for the journal.

        Raises:
            ValueError: If the range is empty, or the store is not open.
            SegmentError: If ``part`` is not there.
            ResourceError: If the disk is full.
        """
        if not 0 <= first < stop:
            msg = f"segment {index} must hold frames, got {first} to {stop}"
            raise ValueError(msg)
        self._require_open()
        if self._committed is None:
            self._committed = self.entries()
        if index in self._committed:
            _remove(part)
            return self._committed[index]
        if not part.exists():
            msg = f"segment {index} must be written before it is committed, got no {part}"
            raise SegmentError(msg)
        with disk_space(self._name):
            synchronise_all(part)
            size_bytes, sha256 = _fingerprint(part)
            path = self._final_path(index)
            entry = Entry(index, first, stop, path, size_bytes, sha256, self.run)
            # What has that name and no line in the journal counts for nothing.
            _remove(entry.path)
            part.rename(entry.path)
            synchronise(self._folder)
            self._journal.append(entry, attempt)
        self._committed[index] = entry
        return entry

    def cuts(self) -> tuple[int, ...] | None:
        """What was kept by :meth:`keep_cuts`, in this run or one before; None if nothing was."""
        try:
            fields = json.loads(self._cuts.read_bytes())
            is_ours = fields["key"] == self._key
            return tuple(int(cut) for cut in fields["cuts"]) if is_ours else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep_cuts(self, cuts: Sequence[int]) -> None:
        """Remember where the shots begin, durably: segments are a matter of shots.

        Raises:
            ValueError: If the store is not open.
            ResourceError: If the disk is full.
        """
        self._require_open()
        self._keep(self._cuts, {"key": self._key, "cuts": list(cuts)})

    def discard_others(self) -> None:
        """Remove the segments of all other keys: of other settings or another input.

        Raises:
            ValueError: If the store is not open.
        """
        self._require_open()
        for place in self._root.iterdir():
            if place.is_dir() and place != self._folder:
                _remove(place)

    def remove(self) -> None:
        """Remove everything after a successful join, and give the lock back.

        Raises:
            ValueError: If the store is not open.
        """
        self._require_open()
        lock, joining = self._root / _LOCK, self._root / _JOINING
        for place in self._root.iterdir():
            if place not in (lock, joining):
                _remove(place)
        # After the segments: as long as any of them is missing it says that nobody needs them.
        _remove(joining)
        # Last, so that nothing is removed that a run which took the lock after us has written.
        lock.unlink()
        with suppress(OSError):
            self._root.rmdir()
        self.close()

    def begin_join(self, output: Path) -> None:
        """Remember, durably, what the output was before the segments were joined to it.

        Raises:
            ValueError: If the store is not open.
            ResourceError: If the disk is full.
        """
        self._require_open()
        self._keep(self._root / _JOINING, {"key": self._key, "before": _version(output)})

    def is_joined(self, output: Path) -> bool:
        """Whether the output has changed since :meth:`begin_join`, and so is complete."""
        try:
            fields = json.loads((self._root / _JOINING).read_bytes())
            now = _version(output)
            return fields["key"] == self._key and now is not None and now != fields["before"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _require_open(self) -> None:
        if self._lock is None:
            msg = f"segments in {self._folder} must be opened before they are changed"
            raise ValueError(msg)

    def _keep(self, path: Path, fields: dict[str, object]) -> None:
        """Write a small file, durably and as a whole."""
        part = path.with_suffix(".part")
        with disk_space(self._name):
            part.write_text(json.dumps(fields))
            synchronise(part)
            part.rename(path)
            synchronise(path.parent)

    def _final_path(self, index: int) -> Path:
        return self._folder / f"{index:05d}{self._suffix}"

    def _clear_unfinished(self) -> None:
        """Remove attempts without a commit, and the end of a line that was cut short."""
        final = re.compile(r"\d{5,}" + re.escape(self._suffix))
        for place in self._folder.iterdir():
            if place not in (self._journal.path, self._cuts) and not final.fullmatch(place.name):
                _remove(place)
        self._journal.repair()


def _locked(path: Path) -> int:
    """Make and lock a file, without waiting; closing the descriptor gives the lock back."""
    while True:
        path.parent.mkdir(exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            # Another run removed the folder between the two.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            msg = (
                f"{path.parent} must belong to one run at a time, got another run that still "
                f"writes this output"
            )
            raise UsageError(msg) from error
        except BaseException:
            os.close(descriptor)
            raise
        # The run that held it removed the file meanwhile: the lock is worth nothing.
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """True if a name stands for the file that a descriptor was opened on."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _last_true(claims: list[Entry]) -> Entry | None:
    """The last claim about one segment that its content bears out.

    What is lost and made again may be the same to the byte; it is of the run that made it last.
    """
    path = claims[0].path
    if not path.exists():
        return None
    actual = _fingerprint(path)
    return next(
        (claim for claim in reversed(claims) if (claim.size_bytes, claim.sha256) == actual), None
    )


def _fingerprint(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, or of the names and contents of the files of a folder."""
    if path.is_file():
        with path.open("rb") as data:
            return path.stat().st_size, hashlib.file_digest(data, "sha256").hexdigest()
    total, digest = 0, hashlib.sha256()
    for file in sorted(path.iterdir()):
        size_bytes, sha256 = _fingerprint(file)
        total += size_bytes
        digest.update(f"{file.name}\0{sha256}\n".encode())
    return total, digest.hexdigest()


def _version(path: Path) -> list[int] | None:
    """What tells a file or a folder from what had its name before; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_dev, status.st_ino, status.st_mtime_ns]


def _remove(path: Path) -> None:
    if path.is_dir():
        # A worker that nobody waits for any more may still write there.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
