"""What can go wrong inside an operator, in the words that the user will read."""


class ModelError(Exception):
    """A model cannot be found or loaded, or breaks the contract that it declared.

    The message is one line and names the model.
    """


class FrameError(Exception):
    """One item failed inside an operator.

    Args:
        message: What must hold and what came, without the frame.
        frame: Number of the original frame, from zero.
    """

    def __init__(self, message: str, *, frame: int) -> None:
        super().__init__(f"frame {frame}: {message}")
        self.message = message
        self.frame = frame

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by arguments: exceptions with keyword-only ones need to be told how."""
        return _frame_error, (self.message, self.frame)


def _frame_error(message: str, frame: int) -> FrameError:
    return FrameError(message, frame=frame)
