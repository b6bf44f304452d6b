"""Every kind of error is one line and its own exit code."""

import errno
import signal

import pytest
import torch

from operators.errors import ModelError
from pipeline.errors import ClusterError, InputError, ResourceError, UsageError
from pipeline.failure import Interrupted, explain


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (UsageError("x"), 2, "x"),
        (InputError("x"), 4, "x"),
        (ModelError("x"), 5, "x"),
        (ResourceError("x"), 6, "x"),
        (ClusterError("x"), 7, "x"),
        (MemoryError(), 6, "out of memory; a smaller --size needs less"),
        (torch.OutOfMemoryError("x"), 6, "out of memory; a smaller --size needs less"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            6,
            "out of memory; a smaller --size needs less",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.mp4"),
            6,
            "no space is left on the disk for out.mp4",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 6, "no space is left on the disk"),
        (
            Interrupted(signal.SIGINT),
            130,
            "interrupted; the same command again goes on where it stopped",
        ),
        (
            Interrupted(signal.SIGTERM),
            143,
            "interrupted; the same command again goes on where it stopped",
        ),
        (KeyboardInterrupt(), 130, "interrupted; the same command again goes on where it stopped"),
        (
            ZeroDivisionError("division by zero"),
            1,
            (
                "ZeroDivisionError: division by zero "
                "(this is a defect of HyperCon; HYPERCON_DEBUG=1 shows where)"
            ),
        ),
        (
            AssertionError(),
            1,
            "AssertionError (this is a defect of HyperCon; HYPERCON_DEBUG=1 shows where)",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_error_has_its_exit_code(error: BaseException, exit_code: int, message: str) -> None:
    failure = explain(error)

    assert (failure.exit_code, failure.message) == (exit_code, message)


def test_allocators_words_in_another_runtime_error_are_needed() -> None:
    assert explain(RuntimeError("shapes differ")).exit_code == 1


def test_the_traceback_is_shown_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HYPERCON_DEBUG", raising=False)
    explain(ValueError("x"))
    assert capsys.readouterr().err == ""

    monkeypatch.setenv("HYPERCON_DEBUG", "1")
    explain(ValueError("x"))
    assert "ValueError: x" in capsys.readouterr().err


def test_a_signal_inside_compiled_code_is_still_an_interruption() -> None:
    """Python wraps what a handler raised if C code returned a result all the same."""
    wrapped = SystemError("returned a result with an exception set")
    wrapped.__cause__ = Interrupted(signal.SIGTERM)

    assert explain(wrapped).exit_code == 143
