"""Where tests find real clips, weights and reference numbers that are not part of the project.

``HYPERCON_SHARED`` names the folder, ``../shared`` by default. A test that asks for something
that is not there is skipped and says so.
"""

import importlib.util
import json
import os
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


def golden_tolerance(name: str) -> float:
    """The relative tolerance that ``golden/README.md`` states for a file."""
    readme = shared_path("golden/README.md").read_text()
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == name and len(cells) >= 4:
            return float(cells[3].split()[0])
    msg = f"golden/README.md states no tolerance for {name}"
    raise AssertionError(msg)


def weight_rule() -> ModuleType:
    """The module ``golden/rule.py``: repeatable weights from key names."""
    path = shared_path("golden/rule.py")
    spec = importlib.util.spec_from_file_location("golden_rule", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
