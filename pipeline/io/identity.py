"""What tells one input from another without reading all of it."""

import hashlib
import os
from pathlib import Path

from pipeline.errors import InputError

_MIB = 1 << 20


def input_identity(path: Path) -> str:
    """What tells an input from another at a small cost, as hexadecimal digits.

    Size, time of modification in nanoseconds, and the first and last MiB of a file; for a folder
    the name, size and time of every file in it.

    Raises:
        InputError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                status = file.stat()
                line = f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
                digest.update(os.fsencode(line))
        else:
            status = path.stat()
            digest.update(f"{status.st_size}\0{status.st_mtime_ns}\n".encode())
            with path.open("rb") as data:
                digest.update(data.read(_MIB))
                data.seek(max(0, status.st_size - _MIB))
                digest.update(data.read(_MIB))
    except OSError as error:
        msg = f"{path} must be a readable file or folder, got {error.strerror}"
        raise InputError(msg) from error
    return digest.hexdigest()
