"""From what was raised to what the user reads: one line and an exit code."""

import errno
import os
import sys
import traceback
from dataclasses import dataclass

from operators.errors import ModelError
from pipeline.errors import HyperConError, ResourceError, UsageError

INTERNAL_EXIT_CODE = 1
MODEL_EXIT_CODE = 5
CTRL_C_EXIT_CODE = 130
DEBUG_VARIABLE = "HYPERCON_DEBUG"


class Interrupted(BaseException):
    """A signal asked the command to stop.

    No ``KeyboardInterrupt``: of that Typer makes exit code 130 and no message, whatever the signal.

    Args:
        signal_number: Which one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """What a shell makes of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command ended that did not end well.

    Attributes:
        exit_code: What the process returns.
        message: One line.
    """

    exit_code: int
    message: str


def explain(error: BaseException) -> Failure:
    """The line and the exit code for an error.

    With ``HYPERCON_DEBUG=1`` the traceback goes to standard error as well.
    """
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    if isinstance(error, SystemError) and isinstance(error.__cause__, Interrupted):
        # A signal that arrives inside Ray's compiled code comes out like this.
        error = error.__cause__
    if isinstance(error, HyperConError | ModelError):
        code = error.exit_code if isinstance(error, HyperConError) else MODEL_EXIT_CODE
        return Failure(code, str(error))
    if isinstance(error, Interrupted | KeyboardInterrupt):
        code = error.exit_code if isinstance(error, Interrupted) else CTRL_C_EXIT_CODE
        return Failure(code, "interrupted; the same command again goes on where it stopped")
    if is_out_of_memory(error):
        return Failure(ResourceError.exit_code, "out of memory; a smaller --size needs less")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        place = f" for {error.filename}" if error.filename else ""
        return Failure(ResourceError.exit_code, f"no space is left on the disk{place}")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return Failure(UsageError.exit_code, f"a name must be shorter, got {error.filename}")
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    advice = f"this is a defect of HyperCon; {DEBUG_VARIABLE}=1 shows where"
    return Failure(INTERNAL_EXIT_CODE, f"{reason} ({advice})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a GPU."""
    # Torch is asked only if it is there already: importing it takes seconds.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # On the CPU, torch has no type for it.
    is_allocation = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return is_allocation or isinstance(error, MemoryError)
