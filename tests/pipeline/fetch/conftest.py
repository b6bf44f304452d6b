"""Where weights come from and go to in tests of fetching."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_model import NETWORK
from torch import nn
from web import Server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user cache of the test, empty."""
    (tmp_path / "tiny_fetched_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERCON_WEIGHTS", raising=False)
    return tmp_path / "cache" / "hypercon"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The weight file, where its authors keep it."""
    torch.manual_seed(0)
    path = tmp_path / "authors" / "tiny-flownet.pth"
    path.parent.mkdir()
    torch.save(nn.Linear(3, 2).state_dict(), path)
    return path


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(published.parent)
    yield server
    server.stop()
