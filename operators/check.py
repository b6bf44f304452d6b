"""Requirements on tensors, each one line at the call and one sentence when it fails."""

from torch import Tensor


def require_images(name: str, images: Tensor, *, channels: int | None = None) -> None:
    """Require ``(B, C, H, W)`` floating point.

    Args:
        name: What the message calls the tensor.
        images: The tensor.
        channels: The exact number of channels, or None for any.

    Raises:
        ValueError: If the shape or the type is another.
    """
    wanted = "C" if channels is None else str(channels)
    if images.ndim != 4 or (channels is not None and images.shape[1] != channels):
        msg = f"{name} must be (B, {wanted}, H, W), got {tuple(images.shape)}"
        raise ValueError(msg)
    if not images.is_floating_point():
        msg = f"{name} must be floating point, got {images.dtype}"
        raise ValueError(msg)


def require_flow(name: str, flow: Tensor) -> None:
    """Require ``(B, 2, H, W)`` floating point, displacements in pixels.

    Args:
        name: What the message calls the tensor.
        flow: The tensor.

    Raises:
        ValueError: If the shape or the type is another.
    """
    require_images(name, flow, channels=2)


def require_same_grid(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Require the same batch, height and width.

    Args:
        name: What the message calls ``tensor``.
        tensor: ``(B, C, H, W)``.
        other_name: What the message calls ``other``.
        other: ``(B, C', H, W)``.

    Raises:
        ValueError: If the batches or the sizes differ.
    """
    if (tensor.shape[0], *tensor.shape[-2:]) != (other.shape[0], *other.shape[-2:]):
        msg = (
            f"{name} must be on the grid of {other_name}, "
            f"got {tuple(tensor.shape)} for {tuple(other.shape)}"
        )
        raise ValueError(msg)


def require_pair(first: Tensor, second: Tensor) -> None:
    """Require two batches of RGB images of one shape, called ``first`` and ``second``.

    Args:
        first: ``(B, 3, H, W)``.
        second: The same.

    Raises:
        ValueError: If either has another shape or type, or the two differ.
    """
    require_images("first", first, channels=3)
    require_images("second", second, channels=3)
    require_same_grid("second", second, "first", first)
