"""Sending a command to a Ray cluster, following it, and giving back its exit code.

Ray's Python client is used, not its command ``ray job submit``, which returns 0 or 1 whatever
the job returned. The job server keeps the exit code of the command itself.
"""

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from ray.exceptions import AuthenticationError, RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from pipeline.errors import ClusterError, UsageError
from pipeline.failure import Interrupted, explain

# Found by the uploaded folder, which is where the job's processes start, or else as installed.
ENTRYPOINT = ("python", "-m", "pipeline.cli")
STOPPED_EXIT_CODE = 143
# A connection that is silent for so long may be dead without either side knowing.
SILENCE_S = 60.0
# A head that is busy or restarts its job server is back by then.
PATIENCE_S = 120.0
RETRY_S = 1.0

_ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
_NO_ANSWER = (OSError, RuntimeError, ValueError, aiohttp.ClientError, RayError)

logger = logging.getLogger(__name__)


def connect(address: str) -> JobSubmissionClient:
    """Reach the job server of a cluster.

    Args:
        address: Of the dashboard, like ``http://HEAD:8265``, or of the cluster, which knows it.

    Raises:
        ClusterError: If it does not answer, or asks for a token.
    """
    for name in ("ray.dashboard", "ray._private"):
        # They tell of uploads and closed connections, which nobody has to know.
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("modules.job.sdk", "modules.dashboard_sdk"):
        logging.getLogger(f"ray.dashboard.{name}").setLevel(logging.WARNING)
    try:
        with _address_wins(address):
            return JobSubmissionClient(address)
    except AuthenticationError as error:
        msg = (
            f"cluster {address} must be given its token: set RAY_AUTH_MODE=token and "
            f"RAY_AUTH_TOKEN, got {error.message.splitlines()[0]}"
        )
        raise ClusterError(msg) from error
    except _NO_ANSWER as error:
        raise ClusterError(_no_answer(address, error)) from error


def start(client: JobSubmissionClient, words: Sequence[str], working_dir: Path) -> str:
    """Upload a folder and start a command of ``hypercon`` in it.

    What ``.gitignore`` and ``.rayignore`` name stays here.

    Args:
        client: Of the cluster.
        words: What follows ``hypercon``.
        working_dir: The folder.

    Returns:
        The name of the job.

    Raises:
        UsageError: If the folder cannot be uploaded.
        ClusterError: If the cluster refuses the job.
    """
    if not working_dir.is_dir():
        msg = f"--working-dir must be a folder, got {working_dir}"
        raise UsageError(msg)
    try:
        return client.submit_job(
            entrypoint=shlex.join([*ENTRYPOINT, *words]),
            runtime_env={"working_dir": str(working_dir)},
        )
    except ValueError as error:
        # Of all that can go wrong here, only the folder's content is the user's.
        msg = f"--working-dir must be a folder that can be uploaded, got {working_dir}: {error}"
        raise UsageError(msg) from error
    except _NO_ANSWER as error:
        raise ClusterError(_no_answer(client.get_address(), error)) from error


def watch(
    client: JobSubmissionClient, job_id: str, write: Callable[[str], object], *, stop: bool = False
) -> int:
    """Show the log of a job to its end.

    Args:
        client: Of the cluster.
        job_id: Name of the job.
        write: Takes the log as it grows, in pieces.
        stop: Whether an interruption ends the job too; otherwise the job goes on.

    Returns:
        The exit code of the job, or that of the interruption.

    Raises:
        ClusterError: If the cluster could not run the job or does not answer any more.
    """
    try:
        return exit_code_of(follow(client, job_id, write))
    except (Interrupted, KeyboardInterrupt) as interruption:
        at = f"--address {client.get_address()} {job_id}"
        if stop:
            try:
                client.stop_job(job_id)
            except _NO_ANSWER as error:
                msg = (
                    f"job {job_id} could not be stopped and may go on; `ray job stop {at}` ends it"
                )
                raise ClusterError(msg) from error
            logger.warning("interrupted; job %s is stopped", job_id)
        else:
            logger.warning(
                "interrupted; job %s goes on: `ray job logs --follow %s` shows it, "
                "`ray job stop %s` ends it",
                *(job_id, at, at),
            )
        return explain(interruption).exit_code


def follow(client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> JobDetails:
    """Show the log of a job until the job has ended, through lost connections.

    Raises:
        ClusterError: If the cluster does not answer for :data:`PATIENCE_S`.
    """
    log = _Log(write)
    heard_s = time.monotonic()
    while True:
        with suppress(*_NO_ANSWER):
            _run(_tail(client, job_id, log))
        try:
            details = client.get_job_info(job_id)
        except _NO_ANSWER as error:
            if time.monotonic() - heard_s > PATIENCE_S:
                answer = _no_answer(client.get_address(), error)
                msg = f"{answer}; job {job_id} may still be running"
                raise ClusterError(msg) from error
        else:
            heard_s = time.monotonic()
            if details.status.is_terminal():
                # The connection may have closed before the end of the log.
                with suppress(*_NO_ANSWER):
                    log.show(0, client.get_job_logs(job_id))
                return details
        time.sleep(RETRY_S)


def exit_code_of(details: JobDetails) -> int:
    """The exit code of a job that has ended, as a shell would tell it.

    Raises:
        ClusterError: If the cluster could not run the command at all.
    """
    if details.status == JobStatus.STOPPED:
        return STOPPED_EXIT_CODE
    code = details.driver_exit_code
    if code is None:
        reason = (details.message or str(details.error_type)).strip()
        msg = f"the cluster must run job {details.submission_id}, got {details.status}: {reason}"
        raise ClusterError(msg)
    # A negative number is the signal that ended it.
    return code if code >= 0 else 128 - code


class _Log:
    """A log that comes from its beginning at each new connection, and is written once.

    Args:
        write: Takes what was not written yet.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._written = 0

    def show(self, position: int, text: str) -> int:
        """Write what is new of the text that begins at a position.

        Returns:
            The position after the text.
        """
        new = text[max(0, self._written - position) :]
        if new:
            self._write(new)
        end = position + len(text)
        self._written = max(self._written, end)
        return end


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, or to a signal: a loop keeps most of what callbacks raise to itself."""

    def let_through(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Interrupted):
            raise KeyboardInterrupt from error
        loop.default_exception_handler(context)

    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(let_through)
        try:
            runner.run(work)
        except KeyboardInterrupt as error:
            raise error.__cause__ or error from None


async def _tail(client: JobSubmissionClient, job_id: str, log: _Log) -> None:
    """Show the log until the connection ends or is silent for too long."""
    position = 0
    async with asyncio.timeout(SILENCE_S) as limit:
        async for text in client.tail_job_logs(job_id):
            position = log.show(position, text)
            limit.reschedule(asyncio.get_running_loop().time() + SILENCE_S)


@contextmanager
def _address_wins(address: str) -> Iterator[None]:
    """Give the client the address in the variable that it prefers to its argument."""
    before = os.environ.get(_ADDRESS_VARIABLE)
    os.environ[_ADDRESS_VARIABLE] = address
    try:
        yield
    finally:
        del os.environ[_ADDRESS_VARIABLE]
        if before is not None:
            os.environ[_ADDRESS_VARIABLE] = before


def _no_answer(address: str, error: Exception) -> str:
    return f"cluster {address} must answer, got {type(error).__name__}: {error}"
