"""Output under a temporary name, which becomes the final name only when it is complete."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ResourceError, UsageError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset({errno.EMLINK, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV})


class PartFile:
    """A file or a folder that nobody sees under its final name before it is whole.

    Args:
        path: The final name.
        overwrite: True to replace what is there when the new one is complete.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        # A link is followed, so that it stays one; and "." has a name once resolved.
        self.path = path.resolve()
        self.part = self._beside("part")
        self._overwrite = overwrite

    def require_writable(self) -> None:
        """Refuse a place that cannot be written, before any work is done.

        Raises:
            UsageError: If the folder is missing or not writable, or the name is taken.
        """
        folder = self.path.parent
        if not folder.is_dir():
            msg = f"the folder of output {self.path} must exist, got {folder}"
            raise UsageError(msg)
        if not os.access(folder, os.W_OK | os.X_OK):
            msg = f"the folder of output {self.path} must be writable, got {folder}"
            raise UsageError(msg)
        if self.path.exists() and not self._overwrite:
            msg = f"output must not exist unless it may be overwritten, got {self.path}"
            raise UsageError(msg)

    def publish(self) -> None:
        """Bring everything to disk, then give it the final name.

        Raises:
            UsageError: If the name was taken meanwhile.
        """
        self.require_writable()
        synchronise_all(self.part)
        if self.path.is_dir():
            # A folder cannot be replaced in one step: the old one steps aside first.
            aside = self._beside("old")
            self.path.rename(aside)
            self.part.rename(self.path)
            shutil.rmtree(aside)
        else:
            self.part.replace(self.path)
        synchronise(self.path.parent)

    def remove(self) -> None:
        """Remove the temporary file or folder, if there is one."""
        _remove(self.part)

    def remove_leftovers(self) -> None:
        """Remove what other processes left of this output, which were killed over it.

        Only for who knows that nobody else writes it now.
        """
        number = re.compile(rf"\.{re.escape(self.path.name)}\.\d+\.part")
        for place in self.path.parent.iterdir():
            if place != self.part and number.fullmatch(place.name):
                _remove(place)

    def _beside(self, ending: str) -> Path:
        return self.path.parent / f".{self.path.name}.{os.getpid()}.{ending}"


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        # A parent that is a file, which was refused before, holds nothing to remove either.
        with suppress(FileNotFoundError, NotADirectoryError):
            place.unlink()


@contextmanager
def disk_space(name: str) -> Iterator[None]:
    """Turn a full disk, which FFmpeg reports as an ``OSError`` too, into one line.

    Args:
        name: What the message calls the output.

    Raises:
        ResourceError: If there was no space left, or none that this user may take.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        msg = f"{name} must fit on its disk, got {error.strerror}"
        raise ResourceError(msg) from error


def link_or_copy(existing: Path, new: Path) -> None:
    """Give a file a second name, or where the file system has no links, make a copy of it."""
    try:
        new.hardlink_to(existing)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(existing, new)


def synchronise_all(path: Path) -> None:
    """Return when a file, or a folder with all that is in it, has reached the disk."""
    for file in sorted(path.rglob("*")) if path.is_dir() else ():
        synchronise(file)
    synchronise(path)


def synchronise(path: Path) -> None:
    """Return when a file, or the list of names that a folder is, has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
