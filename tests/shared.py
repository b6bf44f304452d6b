"""Where tests find real clips, weights and reference numbers that are not part of the project.

``HYPERCON_SHARED`` names the folder, ``../shared`` by default. A test that asks for something
that is not there is skipped and says so.
"""

import hashlib
import importlib.util
import json
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(os.environ.get("HYPERCON_SHARED", Path(__file__).parents[1].parent / "shared"))


def shared_path(relative: str) -> Path:
    """A file or folder under the shared folder, or a visible skip."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(f"needs {relative} under HYPERCON_SHARED")
    return path


def golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of ``golden/<name>.npz`` and their ``meta``: salt, gains, sizes, origin."""
    with np.load(shared_path(f"golden/{name}.npz")) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "meta"}
        meta = json.loads(str(archive["meta"]))
    return arrays, meta


def golden_tolerance(name: str, array: str = "") -> float:
    """The tolerance that ``golden/README.md`` states for a file, or for one array of it."""
    readme = shared_path("golden/README.md").read_text()
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == name and len(cells) >= 4:
            stated, _, exceptions = cells[3].partition("(")
            for patterns, tolerance in re.findall(r"([\w*/]+): *([\d.e-]+)", exceptions):
                if any(fnmatch(array, pattern) for pattern in _spelled_out(patterns)):
                    return float(tolerance)
            return float(stated)
    msg = f"golden/README.md states no tolerance for {name}"
    raise AssertionError(msg)


def _spelled_out(patterns: str) -> list[str]:
    """``a_2/3`` stands for ``a_2`` and ``a_3``."""
    first, *endings = patterns.split("/")
    return [first, *(first[: -len(ending)] + ending for ending in endings)]


def golden_note(name: str, pattern: str) -> tuple[float, ...]:
    """The numbers that a pattern finds in what ``golden/README.md`` says of a file."""
    readme = shared_path("golden/README.md").read_text()
    notes = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^##|\Z)", readme, re.DOTALL | re.MULTILINE)
    found = notes and re.search(pattern, notes.group(1))
    assert found, f"golden/README.md says nothing like {pattern} of {name}"
    return tuple(float(number) for number in found.groups())


def weight_file(sha256: str) -> Path:
    """The file of real weights that a golden was made with, or a visible skip."""
    for path in sorted(shared_path("weights").iterdir()):
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    pytest.skip(f"needs a file of SHA-256 {sha256} under weights in HYPERCON_SHARED")


def weight_rule() -> ModuleType:
    """The module ``golden/rule.py``: repeatable weights from key names."""
    path = shared_path("golden/rule.py")
    spec = importlib.util.spec_from_file_location("golden_rule", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
