"""What a user can cause or meet: one line each, and the exit code that goes with it.

``operators.errors.ModelError`` (a model cannot be loaded or breaks its contract) is exit code 5.
"""


class HyperConError(Exception):
    """Base of the errors that end a command with one line instead of a traceback.

    Attributes:
        exit_code: What the process returns.
    """

    exit_code = 1


class UsageError(HyperConError):
    """An option, a configuration key or an output location cannot be used."""

    exit_code = 2


class InputError(HyperConError):
    """The input cannot be read, or not all of it."""

    exit_code = 4


class StandstillError(InputError):
    """Nothing comes from the input, as from a network's disk that does not answer."""


class SegmentError(HyperConError):
    """A segment is missing, is broken, or does not belong beside the others."""


class ResourceError(HyperConError):
    """Memory or disk space ran out."""

    exit_code = 6


class ClusterError(HyperConError):
    """The Ray cluster cannot be reached or cannot hold the job."""

    exit_code = 7


class QuarantineError(HyperConError):
    """Segments were given up; the others are kept for a run with the same key."""

    exit_code = 3
