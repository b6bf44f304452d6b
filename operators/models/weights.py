"""Weight files: where they are looked for, and how they are read safely.

Only tensors are ever read from a file: PyTorch's restricted unpickler or safetensors. Nothing is
downloaded.
"""

import datetime as dt
import hashlib
import importlib
import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from operators.errors import ModelError

SEARCH_VARIABLE = "HYPERCON_WEIGHTS"
SAFETENSORS_SUFFIX = ".safetensors"

# Under which a checkpoint keeps its state dict.
WRAPPERS = ("state_dict", "model", "params")
# The log of a training run may hold these beside what the restricted unpickler knows.
HARMLESS_TYPES = (dt.datetime, dt.timedelta, dt.timezone)


def user_cache() -> Path:
    """The folder of this user's weights: ``$XDG_CACHE_HOME/hypercon``, or the one in home."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "hypercon"


def search_folders() -> list[Path]:
    """The folders that are searched, first to last.

    Returns:
        Those of ``HYPERCON_WEIGHTS``, separated as in ``PATH``, then the user cache.
    """
    listed = os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep)
    return [*(Path(folder) for folder in listed if folder), user_cache()]


def find(files: tuple[str, ...], given: Path | None = None) -> Path | None:
    """The weight file of a model, if it is on this machine.

    Args:
        files: Names under which the file is known, relative to a folder, best first.
        given: A file, taken as it is; or a folder, searched alone; or None to search
            :func:`search_folders`.

    Returns:
        The first match in the first folder that has one. A safetensors file of the same stem
        counts as well.
    """
    if given is not None and given.is_file():
        return given
    for folder in [given] if given is not None else search_folders():
        for file in files:
            for candidate in (folder / file, (folder / file).with_suffix(SAFETENSORS_SUFFIX)):
                if candidate.is_file():
                    return candidate
    return None


def installed(requirement: str, member: str) -> Path | None:
    """A weight file that an installed package brought along, or None.

    Args:
        requirement: ``NAME==VERSION``; another version of the package does not count.
        member: Path of the file, relative to where packages are installed.
    """
    name, _, version = requirement.partition("==")
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(member)))
    return path if distribution.version == version and path.is_file() else None


def missing(
    name: str, files: tuple[str, ...], source: str, given: Path | None, *, by_hand: bool = False
) -> ModelError:
    """The error for weights that :func:`find` did not find: what, from where, looked for where.

    Args:
        name: Of the model.
        files: Names of its weight file.
        source: The page where it is published.
        given: The folder that was searched instead of the usual ones, or None.
        by_hand: True if no command can fetch it, only put what a person fetched in its place.
    """
    looked = [given] if given is not None else search_folders()
    there = (" --from FILE" if by_hand else "") + ("" if given is None else f" --weights {given}")
    return ModelError(
        f"model {name!r} needs its weight file {' or '.join(files)}, from {source}; "
        f"looked in {', '.join(str(folder) for folder in looked)} "
        f"(set {SEARCH_VARIABLE} to the folder that has it, or: "
        f"hypercon models get {name}{there})"
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Any]:
    """Read a state dict; code inside the file is never run.

    Args:
        path: A safetensors file if its suffix says so, else a file written by ``torch.save``,
            with or without the usual ``state_dict``, ``model`` or ``params`` wrapper.

    Returns:
        Key to tensor, on the CPU, in the order of the file. A checkpoint of several networks
        gives the state dict of each under its key. The log of a training run is left out.

    Raises:
        ModelError: If the file is damaged, or holds anything else.
    """
    try:
        content = _read(path)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything in a parser
        reason = (str(error).splitlines() or [""])[0]
        msg = f"{path}: must be a readable weight file, got {type(error).__name__}: {reason}"
        raise ModelError(msg) from None
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        msg = f"{path}: must hold a state dict, got {type(content).__name__}"
        raise ModelError(msg)
    state: dict[str, Any] = _tensors(content) or {
        str(key): _tensors(part) for key, part in content.items() if _is_state_dict(part)
    }
    if not state:
        msg = f"{path}: must hold a state dict, got {', '.join(map(str, content)) or 'nothing'}"
        raise ModelError(msg)
    return state


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _is_state_dict(content: object) -> bool:
    return isinstance(content, Mapping) and len(_tensors(content)) == len(content) > 0


def _read(path: Path) -> object:
    if path.suffix != SAFETENSORS_SUFFIX:
        with safe_globals(list(HARMLESS_TYPES)):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
        return content
    try:
        # Optional: the core install does not need this package.
        safetensors = importlib.import_module("safetensors.torch")
    except ImportError:
        msg = f"{path}: reading it needs the package 'safetensors', which is not installed"
        raise ModelError(msg) from None
    loaded: object = safetensors.load_file(path, device="cpu")
    return loaded


def strip_prefix(state: Mapping[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """Remove what ``DataParallel`` puts before each key; keys without it stay as they are."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def without(state: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Leave out the keys that begin with one of ``prefixes``."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def fill(
    network: nn.Module,
    state: Mapping[str, Any],
    *,
    name: str,
    place: str,
    published: Mapping[str, Any] | None = None,
) -> None:
    """Copy ``state`` into ``network``: every key, each of its shape, and no other.

    Args:
        network: What is filled.
        state: Key to tensor.
        name: What messages call the network.
        place: What messages call the file.
        published: What :func:`read_state` found in the file, whose names of the same tensors
            messages then use.

    Raises:
        ModelError: Names the first key, in the network's order, that is missing or does not hold
            what the network needs; or else the first one of the file that it does not have.
    """
    wanted = network.state_dict()
    names = _names_by_tensor(published or {})
    for key, tensor in wanted.items():
        if key not in state:
            msg = f"{place}: weights of {name!r} must have the key {key!r}, which is missing"
            raise ModelError(msg)
        fault = _fault(state[key], tensor)
        if fault:
            said = names.get(id(state[key]), key)
            msg = f"{place}: key {said!r} of {name!r} must {fault}"
            raise ModelError(msg)
    for key, value in state.items():
        if key not in wanted:
            said = names.get(id(value), key)
            msg = f"{place}: weights of {name!r} must have only its own keys, got {said!r}"
            raise ModelError(msg)
    network.load_state_dict(dict(state))


def _names_by_tensor(published: Mapping[str, Any]) -> dict[int, str]:
    names = {}
    for key, value in published.items():
        # A checkpoint of several networks has a state dict under each key.
        parts = value.items() if isinstance(value, Mapping) else ()
        names.update({id(tensor): f"{key}.{inner}" for inner, tensor in parts})
        names[id(value)] = key
    return names


def _fault(given: object, wanted: Tensor) -> str:
    """What an entry of a file must be to fill ``wanted``, and is not; empty if it can."""
    if not isinstance(given, Tensor) or given.layout != torch.strided or given.is_meta:
        return f"be a dense tensor, got {getattr(given, 'layout', type(given).__name__)}"
    if given.shape != wanted.shape:
        return f"be of shape {tuple(wanted.shape)}, got {tuple(given.shape)}"
    is_floating = wanted.is_floating_point()
    if given.is_floating_point() != is_floating or given.is_complex() or given.is_quantized:
        kind = "floating point numbers" if is_floating else "integers"
        return f"hold {kind}, got {given.dtype}"
    if is_floating and not given.isfinite().all():
        return "hold finite numbers, got one that is not"
    return ""
