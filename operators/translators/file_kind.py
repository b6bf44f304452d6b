"""Says in words what a file is, so that the wrong one is refused by name."""

import zipfile
from pathlib import Path
from typing import Literal

from operators.errors import ModelError

FileKind = Literal[
    "an empty file",
    "a text file",
    "a TorchScript archive",
    "a torch.export archive",
    "a PyTorch checkpoint (weights without the network)",
    "a zip archive",
    "a binary file of no known kind",
]


def file_kind(path: Path) -> FileKind:
    """Tell what a file is from its content, loading and executing nothing.

    ONNX files have no signature: they are binary files of no known kind.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return "an empty file"
    if zipfile.is_zipfile(path):
        return _archive_kind(path)
    if head[0] == 0x80 and head[1] <= 5:
        # A bare pickle, as torch.save wrote before version 1.6.
        return "a PyTorch checkpoint (weights without the network)"
    is_text = all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head)
    return "a text file" if is_text else "a binary file of no known kind"


def _archive_kind(path: Path) -> FileKind:
    with zipfile.ZipFile(path) as archive:
        # Each format puts its records below one folder named after the file.
        records = {name.partition("/")[2] or name for name in archive.namelist()}
    if "constants.pkl" in records:
        return "a TorchScript archive"
    if "archive_format" in records or "serialized_exported_program.json" in records:
        return "a torch.export archive"
    if "data.pkl" in records:
        return "a PyTorch checkpoint (weights without the network)"
    return "a zip archive"


def require_file(path: Path) -> None:
    """Require that a model's file exists.

    Raises:
        ModelError: If it does not, or is a folder.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        msg = f"model {str(path)!r} must be a file, got {got}"
        raise ModelError(msg)


def require_kind(path: Path, wanted: FileKind, remedy: str) -> None:
    """Require a file of one kind.

    Args:
        path: The file.
        wanted: The kind.
        remedy: How to make such a file; ends the message.

    Raises:
        ModelError: If the file does not exist or is something else.
    """
    require_file(path)
    kind = file_kind(path)
    if kind != wanted:
        msg = f"model {str(path)!r} must be {wanted}, got {kind}; {remedy}"
        raise ModelError(msg)
