"""Every image of the dense timeline on its own: paper equation (3)."""

import logging
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from operators.base import Translator
from operators.frame import Interval, unread, with_changes
from operators.translators.contract import call_translator

KeepSources = Literal["none", "original", "all"]

logger = logging.getLogger(__name__)


class Translate:
    """Applies an image-to-image model to each image of an interval.

    Args:
        translator: The model.
        batch: Images in one call, always exactly as many; None for as many as the model demands
            or, where it demands nothing, for as many as an interval has. Out of memory halves it,
            for good; on a GPU, batches of another size may round otherwise.
        keep_sources: Which untranslated images travel on beside the translated ones: none, the
            original frame's (to composite known pixels, to guide a later operator), or all (to
            estimate the alignment on them).

    Raises:
        ValueError: If ``batch`` is not at least 1.
    """

    takes = Interval
    is_stateful = False
    reach = 0

    def __init__(
        self,
        translator: Translator,
        *,
        batch: int | None = None,
        keep_sources: KeepSources = "none",
    ) -> None:
        if batch is not None and batch < 1:
            msg = f"batch must be at least 1, got {batch}"
            raise ValueError(msg)
        self.translator = translator
        self._batch = batch
        self._keep_sources = keep_sources

    def num_kept(self, num_images: int) -> int:
        """Untranslated images that an interval of so many images carries on."""
        return {"none": 0, "original": 1, "all": num_images}[self._keep_sources]

    def setup(self, device: torch.device) -> None:
        """Load the model."""
        self.translator.setup(device)

    def process(self, interval: Interval) -> Iterable[Interval]:
        """Translate the images that exist; the padding of a last interval is not translated."""
        present = interval.num_present
        # Before the images are read: what travels on unchanged is not made into numbers for it.
        sources = self._sources(interval)
        takes_mask = self.translator.traits.takes_mask
        masks = (
            interval.masks[:present].float() if takes_mask and interval.masks is not None else None
        )
        translated = self._translated(interval, masks)
        yield with_changes(
            interval,
            images=_repeat_last(translated, len(interval.residues)),
            sources=sources,
            is_picture=self.translator.traits.is_picture,
        )

    def _translated(self, interval: Interval, masks: Tensor | None) -> Tensor:
        """The images that exist; where memory does not suffice, in smaller batches from now on."""
        demanded = self.translator.traits.batch
        batch = demanded or self._batch or len(interval.residues)
        images = interval.images[: interval.num_present]
        while True:
            try:
                return call_translator(
                    self.translator, images, masks, batch=batch, frame=interval.index
                )
            except torch.OutOfMemoryError:
                if demanded is not None or batch == 1:
                    raise
                batch = self._batch = batch // 2
                logger.warning(
                    "translator %r ran out of memory at frame %d: from now on %d images at once",
                    self.translator.name,
                    interval.index,
                    batch,
                )
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _sources(self, interval: Interval) -> Any:
        match self._keep_sources:
            case "none":
                return None
            case "original":
                return unread(interval, "images")[:1]
            case "all":
                return unread(interval, "images")

    def flush(self) -> Iterable[Interval]:
        """Nothing is held."""
        return ()

    def close(self) -> None:
        """Nothing to release."""


def _repeat_last(images: Tensor, count: int) -> Tensor:
    missing = count - images.shape[0]
    return images if missing == 0 else torch.cat((images, images[-1:].expand(missing, -1, -1, -1)))
