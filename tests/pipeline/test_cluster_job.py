"""Following a job through whatever a network does, with a client that plays a script."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from pipeline import cluster_job
from pipeline.cluster_job import connect, exit_code_of, follow, start, watch
from pipeline.errors import ClusterError, UsageError
from pipeline.failure import Interrupted

LOG = "first\nsecond\nthird\n"


def details(status: str, code: int | None = None, message: str | None = None) -> Any:
    return SimpleNamespace(
        status=JobStatus(status),
        driver_exit_code=code,
        message=message,
        error_type=None,
        submission_id="job_1",
    )


class ScriptedClient:
    """Each connection shows so many characters of the log, then ends as it is told.

    Args:
        connections: Characters, and what ends the connection; None for an orderly end.
        states: What the job server says after each connection; the last one counts on.
    """

    def __init__(
        self,
        connections: list[tuple[int, BaseException | None]],
        states: list[Any],
    ) -> None:
        self._connections = connections
        self._states = states
        self.stopped: list[str] = []
        self.submitted: dict[str, Any] = {}

    def get_address(self) -> str:
        return "http://head:8265"

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        characters, end = self._connections.pop(0)
        for begin in range(0, characters, 4):
            yield LOG[begin : min(begin + 4, characters)]
        if end is not None:
            raise end

    def get_job_info(self, job_id: str) -> Any:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, Exception):
            raise state
        return state

    def get_job_logs(self, job_id: str) -> str:
        return LOG

    def stop_job(self, job_id: str) -> bool:
        self.stopped.append(job_id)
        return True

    def submit_job(self, **given: Any) -> str:
        self.submitted = given
        return "job_1"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only while somebody sleeps."""
    now = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0],
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    # Of this module alone: event loops go on by the real one.
    monkeypatch.setattr(cluster_job, "time", clock)
    return now


def play(client: ScriptedClient) -> tuple[Any, str]:
    pieces: list[str] = []
    found = follow(client, "job_1", pieces.append)  # type: ignore[arg-type]  # plays the client
    return found, "".join(pieces)


@pytest.mark.parametrize("seen", range(0, len(LOG), 3))
def test_a_lost_connection_neither_repeats_nor_loses_a_line(seen: int) -> None:
    running, done = details("RUNNING"), details("SUCCEEDED", 0)
    client = ScriptedClient(
        [(seen, RuntimeError("closed")), (seen // 2, None), (len(LOG), None)],
        [running, running, done],
    )

    found, shown = play(client)

    assert found is done
    assert shown == LOG


def test_what_the_last_connection_did_not_bring_is_shown_too() -> None:
    assert play(ScriptedClient([(7, None)], [details("SUCCEEDED", 0)]))[1] == LOG


def test_a_job_server_that_is_away_for_a_minute_is_waited_for() -> None:
    away: list[Any] = [ConnectionError("refused")] * 60
    client = ScriptedClient([(0, OSError("refused"))] * 61, [*away, details("SUCCEEDED", 0)])

    assert play(client)[1] == LOG


def test_patience_begins_anew_with_every_answer() -> None:
    away: list[Any] = [ConnectionError("refused")] * 100
    states = [*away, details("RUNNING"), *away, details("SUCCEEDED", 0)]

    assert play(ScriptedClient([(0, OSError("refused"))] * 202, states))[1] == LOG


def test_a_cluster_that_is_gone_is_said_so(clock: list[float]) -> None:
    client = ScriptedClient([(0, OSError("refused"))] * 999, [ConnectionError("refused")])

    with pytest.raises(ClusterError, match=r"head:8265 must answer.*job_1 may still be running"):
        play(client)

    assert 120 < clock[0] < 125


def test_a_silent_connection_is_given_up_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(ScriptedClient):
        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            async for text in super().tail_job_logs(job_id):
                yield text
            await asyncio.Event().wait()

    monkeypatch.setattr(cluster_job, "SILENCE_S", 0.01)
    states = [details("RUNNING"), details("SUCCEEDED", 0)]

    assert play(Silent([(9, None), (12, None)], states))[1] == LOG


def test_a_slow_log_is_no_silent_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ScriptedClient):
        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            loop = asyncio.get_running_loop()
            real, late_s = loop.time, 0.0
            monkeypatch.setattr(loop, "time", lambda: real() + late_s)
            async for text in super().tail_job_logs(job_id):
                late_s += 0.8 * cluster_job.SILENCE_S
                await asyncio.sleep(0)  # Whatever is due by now comes first.
                yield text

    monkeypatch.setattr(ScriptedClient, "get_job_logs", lambda *_: "")

    assert play(Slow([(len(LOG), None)], [details("SUCCEEDED", 0)]))[1] == LOG


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (details("SUCCEEDED", 0), 0),
        (details("FAILED", 5), 5),
        (details("FAILED", -9), 137),
        (details("STOPPED"), 143),
    ],
)
def test_the_exit_code_is_the_one_that_a_shell_would_see(ended: Any, code: int) -> None:
    assert exit_code_of(ended) == code


def test_a_job_that_never_began_is_the_clusters_fault() -> None:
    with pytest.raises(ClusterError, match=r"run job job_1, got FAILED: no node has 9 GPUs"):
        exit_code_of(details("FAILED", message="no node has 9 GPUs"))


@pytest.mark.parametrize(("stop", "stopped"), [(False, []), (True, ["job_1"])])
def test_ctrl_c_stops_the_job_only_if_asked_to(
    caplog: pytest.LogCaptureFixture, stop: bool, stopped: list[str]
) -> None:
    client = ScriptedClient([(3, Interrupted(2))], [details("RUNNING")])

    code = watch(client, "job_1", str, stop=stop)  # type: ignore[arg-type]  # plays the client

    assert code == 130
    assert client.stopped == stopped
    assert ("is stopped" in caplog.text) == stop
    assert ("ray job stop --address http://head:8265 job_1" in caplog.text) == (not stop)


def test_a_signal_between_two_steps_of_the_connection_is_not_lost() -> None:
    """Event loops keep most of what is raised there to themselves."""

    def interrupt() -> None:
        raise Interrupted(15)

    class Waiting(ScriptedClient):
        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            yield LOG[:3]
            asyncio.get_running_loop().call_soon(interrupt)
            await asyncio.Event().wait()

    client = Waiting([], [details("RUNNING")])

    assert watch(client, "job_1", str) == 143  # type: ignore[arg-type]  # plays the client


def test_a_job_that_could_not_be_stopped_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ScriptedClient([(3, Interrupted(2))], [details("RUNNING")])

    def refuse(_: str) -> bool:
        raise ConnectionError

    monkeypatch.setattr(client, "stop_job", refuse)

    with pytest.raises(ClusterError, match=r"job_1 could not be stopped and may go on; `ray job"):
        watch(client, "job_1", str, stop=True)  # type: ignore[arg-type]  # plays the client


def test_words_reach_the_job_as_they_were_typed(tmp_path: Path) -> None:
    client = ScriptedClient([], [None])
    words = ["run", "/a b/in.mp4", "/o'ut.mp4", "--model", "$(rm -r x)"]

    start(client, words, tmp_path)  # type: ignore[arg-type]  # plays the client

    command = shlex.split(client.submitted["entrypoint"])
    assert command == ["python", "-m", "pipeline.cli", *words]
    assert client.submitted["runtime_env"] == {"working_dir": str(tmp_path)}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--working-dir must be a folder, got"):
        start(ScriptedClient([], [None]), ["run"], tmp_path / "no")  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [None, "http://127.0.0.1:2"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_refused_and_the_environment_left_alone(
    monkeypatch: pytest.MonkeyPatch, address: str, before: str | None
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    if before is not None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", before)

    with pytest.raises(ClusterError, match=f"cluster {address} must answer, got"):
        connect(address)

    assert os.environ.get("RAY_API_SERVER_ADDRESS") == before
