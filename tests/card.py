"""A stand-in for a graphics card that decodes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.reformatter import VideoReformatter

from pipeline.io import hardware, video_source

# What FFmpeg gives of a picture that was decoded on a card.
GIVEN = {"yuv420p": "nv12", "yuv420p10le": "p010le"}

Pictures = Iterator[tuple[int | None, av.VideoFrame]]


class Card:
    """Stands in for a graphics card: software decodes, and levels lie as a card would give them.

    Args:
        damage: Changes what is decoded.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Pictures], Pictures] = iter
    ) -> None:
        self.num_pictures = 0
        self._damage = damage
        self._opened: list[Any] = []
        self._open, self._decode = video_source.open_input, video_source.pictures
        self._reformatter = VideoReformatter()
        monkeypatch.setattr(video_source, "open_input", self.open)
        monkeypatch.setattr(video_source, "pictures", self.pictures)
        monkeypatch.setattr(hardware, "device_refusal", lambda _number=None: None)

    def open(self, path: Path, name: str, device: object = None) -> Any:
        container = self._open(path, name)
        if device is not None:
            self._opened.append(container)
        return container

    def pictures(self, container: Any, *words: Any, **choices: Any) -> Pictures:
        decoded = self._decode(container, *words, **choices)
        return self._damage(self._as_given(decoded)) if container in self._opened else decoded

    def _as_given(self, decoded: Pictures) -> Pictures:
        for stamp, picture in decoded:
            self.num_pictures += 1
            given = self._reformatter.reformat(picture, format=GIVEN[picture.format.name])
            yield stamp, given
