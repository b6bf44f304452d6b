"""What a run holds in memory, as products that can be checked by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from pipeline.chunk import DEPTH, NUMBER_BYTES, chunk_length
from pipeline.config import Config

if TYPE_CHECKING:
    # With it comes torch, which would make every command slow to start.
    from pipeline.io.endpoint import StreamInfo

# Each factor's symbol and value.
Factors = tuple[tuple[str, int], ...]

FLOAT_BYTES = 4
PICTURE_CHANNELS = 3
FLOW_CHANNELS = 2
BOTH_WAYS = 2
# What a stage takes and what it makes of it.
BOTH_SIDES = 2

# Of `operators.recurrent`, which would bring torch with it: what VINet reads ahead, and the
# channels of the memory of Lai et al.'s network, two of 128 at a quarter of the size.
VINET_LOOK_AHEAD = 6
CONSISTENCY_STATE_CHANNELS = 2 * 128 // (4 * 4)


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """Something that is held, as a product that can be checked by hand.

    Attributes:
        name: What is held.
        factors: Each factor's symbol and value; the last is the bytes of one number.
    """

    name: str
    factors: Factors

    @property
    def num_bytes(self) -> int:
        """The product."""
        return prod(value for _, value in self.factors)

    @property
    def formula(self) -> str:
        """The factors by symbol."""
        return " × ".join(symbol for symbol, _ in self.factors)

    @property
    def numbers(self) -> str:
        """The factors by value."""
        return " × ".join(str(value) for _, value in self.factors)


def held_terms(config: Config, info: "StreamInfo") -> tuple[MemoryTerm, ...]:
    """Upper bounds of what the aggregator and the interval under way hold.

    Args:
        config: What to do.
        info: What is known of the input.
    """
    timeline = config.timeline
    aggregate = config.aggregate
    grid = (("H", info.height), ("W", info.width))
    floats = (*grid, ("4 B", FLOAT_BYTES))
    if config.method == "vinet":
        return _vinet_memory(grid, floats)
    ring = ("ring", timeline.ring_size)
    images = ("K", len(timeline.residues))
    channels = ("C", PICTURE_CHANNELS)
    is_mean = aggregate.pool in {"mean", "valid-mean"}
    # One for the pixel-wise count of votes, or for the validity of each vote.
    vote_channels = ("(C + 1)", PICTURE_CHANNELS + 1)
    votes = () if is_mean else (("(2γ + 1)", len(timeline.offsets)),)
    terms = [
        MemoryTerm("ring of translated intervals", (ring, images, channels, *floats)),
        MemoryTerm(
            "open sums" if is_mean else "open stacks", (ring, *votes, vote_channels, *floats)
        ),
        MemoryTerm(
            "interval under way, both sides of a stage",
            (("2", 2), images, ("2C", 2 * PICTURE_CHANNELS), *floats),
        ),
    ]
    if shares_flows(config):
        # As carried by the interval, as scaled to the output, and the route so far.
        flows = ("(2·2·2 + 2)", 2 * BOTH_WAYS * FLOW_CHANNELS + FLOW_CHANNELS)
        terms.append(MemoryTerm("pair flows and routes", (ring, flows, *floats)))
    if aligns_exactly(config):
        flows_each = ("2F", FLOW_CHANNELS * flows_per_sample(config))
        terms.append(MemoryTerm("flows of one interval", (images, flows_each, *floats)))
    if _keeps_images(config):
        terms.append(MemoryTerm("untranslated images", (ring, images, channels, *floats)))
    if config.mask.path is not None:
        terms.append(MemoryTerm("masks", (ring, images, *grid, ("1 B", 1))))
    is_guided = config.method == "blind-consistency"
    if _keeps_originals(config):
        terms.append(MemoryTerm("untranslated originals", (ring, channels, *floats)))
    if is_guided:
        terms.append(MemoryTerm("previous output and original", (("2", 2), channels, *floats)))
        state = ("2·128 / 16", CONSISTENCY_STATE_CHANNELS)
        terms.append(MemoryTerm("memory of the recurrent network", (state, *floats)))
    return tuple(terms)


def _vinet_memory(grid: Factors, floats: Factors) -> tuple[MemoryTerm, ...]:
    window = ("(2·6 + 1)", 2 * VINET_LOOK_AHEAD + 1)
    channels = ("C", PICTURE_CHANNELS)
    return (
        MemoryTerm("window of frames", (window, channels, *floats)),
        MemoryTerm("window of masks", (window, *grid, ("1 B", 1))),
        MemoryTerm("previous output", (channels, *floats)),
    )


def total_bytes(terms: Iterable[MemoryTerm]) -> int:
    """The bound: the sum of what is held."""
    return sum(term.num_bytes for term in terms)


def aligns_exactly(config: Config) -> bool:
    """Whether each neighbour is aligned by a flow of its own."""
    return config.timeline.radius > 0 and config.aggregate.alignment == "exact"


def shares_flows(config: Config) -> bool:
    """Whether neighbours are aligned along the flows between consecutive frames."""
    return config.timeline.radius > 0 and config.aggregate.alignment == "shared"


def flows_per_sample(config: Config) -> int:
    """Flows for each member of a window: a second one, back, for the consistency check."""
    leaves_out = config.aggregate.pool.startswith("valid-")
    return 2 if config.aggregate.consistency and leaves_out else 1


def travelling_terms(config: Config, info: "StreamInfo") -> tuple[MemoryTerm, ...]:
    """Upper bounds of what is on its way between processes on Ray, for each replica of a pool.

    Chunks that wait and those that a stage has taken, with what it makes of them. A chunk carries
    one frame beyond its own.

    Args:
        config: What to do.
        info: What is known of the input.
    """
    grid = (("H", info.height), ("W", info.width))
    inserts_nothing = config.method == "vinet"
    num_images = 1 if inserts_nothing else len(config.timeline.residues)
    num_kept = num_images if _keeps_images(config) else int(_keeps_originals(config))
    level = NUMBER_BYTES["uint16" if info.depth > 8 else "uint8"]
    images, channels = ("K", num_images), ("C", PICTURE_CHANNELS)
    picture = (channels, *grid, (f"{level} B", level))
    each: list[tuple[str, Factors]] = [("pictures", (images, *picture))]
    if shares_flows(config) and not inserts_nothing:
        size = NUMBER_BYTES[config.interpolate.flow_format]
        flows = ("2·2", BOTH_WAYS * FLOW_CHANNELS)
        each.append(("pair flows", (flows, *grid, (f"{size} B", size))))
    if num_kept:
        each.append(("untranslated pictures", (("kept", num_kept), *picture)))
    if config.mask.path is not None:
        each.append(("masks", (images, *grid, ("1 B", 1))))
    frame_bytes = sum(prod(value for _, value in factors) for _, factors in each)
    length = config.ray.chunk_frames or chunk_length(frame_bytes)
    chunks = (("2·depth", BOTH_SIDES * DEPTH), ("(chunk + 1)", length + 1))
    return tuple(MemoryTerm(name, (*chunks, *factors)) for name, factors in each)


def _keeps_images(config: Config) -> bool:
    """Whether all images go along untranslated."""
    return aligns_exactly(config) and config.aggregate.flow_on == "source"


def _keeps_originals(config: Config) -> bool:
    """Whether the original frame goes along untranslated, and no other."""
    is_guided = config.method == "blind-consistency"
    return is_guided or (config.mask.path is not None and not _keeps_images(config))
