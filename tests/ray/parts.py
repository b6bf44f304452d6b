"""Sinks and translators for tests of the engine: importable on the workers."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import ray
import torch
from streams import ArraySink, ListSource
from torch import Tensor

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.frame import Frame
from pipeline.cluster import here
from pipeline.errors import InputError, UsageError
from pipeline.io.endpoint import Sink, StreamInfo

# Longer than settings of tests let anything stand still.
SLOW_S = 15.0
PATIENCE_S = 120.0


def is_first(place: Path, own: str) -> bool:
    """Whether this was the first name to ask; it is remembered in a file."""
    with suppress(FileExistsError), place.open("x") as file:
        file.write(own)
    # Read by another while it is written, it holds no other name either.
    return place.read_text() == own


class Flags:
    """Files in a folder that ask for a misdeed; whoever takes one does it, once.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def raise_(self, *names: str) -> None:
        """Ask for misdeeds."""
        for name in names:
            (self._folder / name).touch()

    def take(self, name: str) -> bool:
        """Whether this was asked for; of several processes one gets to do it."""
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def die(self, name: str) -> None:
        """Leave without a word, as a killed process does, if asked to."""
        if self.take(name):
            os._exit(9)

    def left(self) -> list[str]:
        """What nobody has done yet."""
        return sorted(path.name for path in self._folder.iterdir())


class Gate:
    """Keeps processes waiting until another opens it.

    Args:
        place: A file that is there when it is open.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def open(self) -> None:
        """Let everybody through from now on."""
        self._place.touch()

    def wait(self) -> None:
        """Wait until it is open; not for ever, or a test would not say where it stands."""
        until = time.monotonic() + PATIENCE_S
        while not self._place.exists():
            if time.monotonic() > until:
                msg = f"{self._place.name!r} must be opened within {PATIENCE_S:g} s"
                raise TimeoutError(msg)
            time.sleep(0.05)


class MortalSink(ArraySink):
    """A sink in whose processes one can die: the encoder, and the coordinator when it joins."""

    def __init__(self, path: Path, flags: Flags) -> None:
        super().__init__(path)
        self._flags = flags

    def write(self, frame: Frame) -> None:
        if frame.index == 9:
            self._flags.die("encode")
        super().write(frame)

    def segment(self, path: Path) -> Sink:
        return MortalSink(path, self._flags)

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        self._flags.die("coordinator")
        if self.path.exists():
            msg = f"{self.path} must not exist, got a file"
            raise UsageError(msg)
        super().join(info, parts)
        self._flags.die("coordinator at the end")


class MischievousSource(ListSource):
    """A source in whose process, the decoder, one can die: when it counts, and when it reads."""

    def __init__(self, frames: Sequence[Frame], flags: Flags) -> None:
        super().__init__(frames)
        self._flags = flags

    def count(self) -> int:
        self._flags.die("survey")
        if self._flags.take("no answer"):
            time.sleep(10_000)
        return super().count()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        for frame in super().frames(first, stop):
            if frame.index == 9:
                self._flags.die("decode")
            yield frame


class Ground:
    """Picks one node of those that ask, on which a disk is missing for good.

    Args:
        folder: Where it is noted which.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "node without the disk"

    def is_bare(self) -> bool:
        """Whether this process is there."""
        return is_first(self._place, here())


class DistantSource(ListSource):
    """A source on a disk that one node lacks."""

    def __init__(self, frames: Sequence[Frame], ground: Ground) -> None:
        super().__init__(frames)
        self._ground = ground

    def _require(self) -> None:
        if self._ground.is_bare():
            msg = "list must exist, got no such file"
            raise InputError(msg)

    def count(self) -> int:
        self._require()
        return super().count()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        self._require()
        yield from super().frames(first, stop)


class DistantSink(ArraySink):
    """A sink on a disk that one node lacks."""

    def __init__(self, path: Path, ground: Ground) -> None:
        super().__init__(path)
        self._ground = ground

    def segment(self, path: Path) -> Sink:
        if self._ground.is_bare():
            msg = f"{path} must be in a folder that exists, got none"
            raise UsageError(msg)
        return super().segment(path)


class Passing:
    """A stateful operator that passes frames on, may die at it, and then take long to load."""

    takes = Frame
    is_stateful = True
    reach = 0

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._expected: int | None = None

    def setup(self, device: torch.device) -> None:
        if self._flags.take("load slowly"):
            time.sleep(SLOW_S)

    def process(self, frame: Frame) -> list[Frame]:
        if self._expected not in (None, frame.index):
            msg = f"frame must be {self._expected}, got {frame.index}"
            raise ValueError(msg)
        self._expected = frame.index + 1
        if frame.index == 9:
            if self._flags.take("pass, then load slowly"):
                self._flags.raise_("load slowly", "pass")
            self._flags.die("pass")
        return [frame]

    def flush(self) -> list[Frame]:
        self._expected = None
        return []

    def close(self) -> None:
        """Nothing to release."""


class Wavy:
    """A translator that tells levels apart, does as told to misbehave, and can be slow.

    Args:
        flags: Asks for ``translate`` (die) or ``hang``.
        seconds: Slept for each call.
        poison: Pictures whose first red level is this raise an error every time.
        is_broken: Cannot be set up.
    """

    name = "wavy"
    traits = TranslatorTraits()

    def __init__(
        self,
        flags: Flags | None = None,
        seconds: float = 0.0,
        poison: int | None = None,
        *,
        is_broken: bool = False,
    ) -> None:
        self._flags = flags
        self._seconds = seconds
        self._poison = poison
        self._is_broken = is_broken

    def setup(self, device: torch.device) -> None:
        if self._is_broken:
            msg = "weights of 'wavy' must be there, got none"
            raise ModelError(msg)

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        time.sleep(self._seconds)
        if self._flags is not None:
            self._flags.die("translate")
            if any(self._flags.take(f"hang{more}") for more in ("", " again", " once more")):
                time.sleep(10_000)
        if self._poison is not None and round(float(images[0, 0, 0, 0]) * 255) == self._poison:
            msg = "this picture is poison"
            raise RuntimeError(msg)
        red, green, blue = images.unbind(1)
        return torch.stack((torch.sin(9 * green) / 2 + 0.5, 1 - blue, (red * 4).round() / 4), dim=1)


class Heavy(Wavy):
    """A translator that takes its time to load.

    Args:
        flags: Asks for ``translate`` (die).
        load_s: Seconds.
    """

    def __init__(self, flags: Flags, load_s: float) -> None:
        super().__init__(flags)
        self._load_s = load_s

    def setup(self, device: torch.device) -> None:
        time.sleep(self._load_s)


class Sick:
    """A translator that fails for ever in the process which loads first, started again or not.

    Args:
        folder: Where it is noted which that is.
    """

    name = "sick"
    traits = TranslatorTraits()

    def __init__(self, folder: Path) -> None:
        self._place = folder / "sick"
        self._is_sick = False

    def setup(self, device: torch.device) -> None:
        self._is_sick = is_first(self._place, ray.get_runtime_context().get_actor_id())

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        if self._is_sick:
            msg = "this device is broken"
            raise RuntimeError(msg)
        return Wavy(seconds=0.1)(images)


class Leaky:
    """A translator that keeps 8 MiB of each call for good."""

    name = "leaky"
    traits = TranslatorTraits()

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        # As long as a model would take, so that there is time to notice.
        time.sleep(0.2)
        self._kept.append(torch.ones(2 * 2**20))
        return Wavy()(images)


class Greedy:
    """A translator that runs out of memory as often as it is asked to.

    Args:
        flags: ``memory``, once; None for always.
    """

    name = "greedy"
    traits = TranslatorTraits(batch=1)

    def __init__(self, flags: Flags | None) -> None:
        self._flags = flags

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        if self._flags is None or self._flags.take("memory"):
            msg = "CUDA out of memory. Tried to allocate 2.00 GiB"
            raise torch.OutOfMemoryError(msg)
        return Wavy()(images)
