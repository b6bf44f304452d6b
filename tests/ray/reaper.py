"""Kills processes of a job from outside, as machines and kernels do: without a word."""

import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import ray

from pipeline.progress import SilentProgress
from pipeline.tally import JobState

ROLES = ("DecodeActor", "StageActor", "EncodeActor", "Coordinator")


def commands_of(session: str) -> dict[int, str]:
    """Processes of a Ray session on this machine, and what each was started with or calls itself.

    Args:
        session: The name of the session, which stands in the command line of its raylets and of
            Ray's other processes; raylets are the parents of all workers.
    """
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            command = _command_of(int(folder.name))
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if session in command or session in _command_of(int(parent)):
                found[int(folder.name)] = command
        except OSError:
            continue
    return found


def processes_of(session: str) -> list[tuple[int, str]]:
    """The same, with their names alone."""
    return [
        (number, Path(command.split(" ")[0]).name.split(".")[0])
        for number, command in sorted(commands_of(session).items())
    ]


def actors_of(session: str) -> list[tuple[int, str]]:
    """Processes of the engine in a Ray session: number and role."""
    return [
        (number, role)
        for number, title in processes_of(session)
        for role in ROLES
        if title.startswith(f"ray::{role}")
    ]


def session_name() -> str:
    """The session that this process is connected to."""
    return Path(ray._private.worker._global_node.get_session_dir_path()).name


def _command_of(number: int) -> str:
    raw = Path(f"/proc/{number}/cmdline").read_bytes()
    return raw.replace(b"\0", b" ").decode(errors="replace")


class Reaper(SilentProgress):
    """Kills a random process of the engine each time that some more work is done.

    By work and not by time, so that a slow machine gets as far between two deaths as a fast one.

    Args:
        seed: Decides when, and who of those that are there.
        every: Frames that stages take between two kills, at least and at most.
        most: Kills, all together.
        most_by_role: How often a role is killed at most; others are not bounded.
        first: The role that is killed first; who is killed later is left to the seed.
    """

    def __init__(
        self,
        seed: int,
        every: tuple[int, int],
        most: int,
        most_by_role: Mapping[str, int],
        first: str,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._every = every
        self._most = most
        self._most_by_role = most_by_role
        self._first = first
        self._session = session_name()
        self._next = self._random.randint(*every)
        self.killed: Counter[str] = Counter()

    def show(self, state: JobState) -> None:
        """Called by the driver a few times a second."""
        work = sum(stage.frames for stage in state.stages)
        if work < self._next or self.killed.total() >= self._most:
            return
        able = [
            (number, role)
            for number, role in actors_of(self._session)
            if self.killed[role] < self._most_by_role.get(role, self._most)
        ]
        if not self.killed:
            able = [one for one in able if one[1] == self._first]
        if not able:
            return
        number, role = self._random.choice(able)
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            # It has gone by itself; the next one is chosen the next time.
            return
        self.killed[role] += 1
        self._next = work + self._random.randint(*self._every)
