"""The smallest model that can be fetched, and the files that it comes in."""

import zipfile
from pathlib import Path

import pytest

from operators.models import registry
from operators.models.entry import Entry

NETWORK = """
from torch import nn

def build():
    return nn.Linear(3, 2)

def from_published(state):
    return dict(state)
"""

TINY = Entry(
    kind="flow",
    name="tiny",
    summary="",
    adapter="nowhere:nothing",
    network="tiny_fetched_network:build",
    files=("tiny.pth", "published/tiny-flownet.pth"),
    source="https://example.org/tiny",
    licence="MIT",
)


def register(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    monkeypatch.setattr(registry, "ENTRIES", (*registry.ENTRIES, entry))


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
