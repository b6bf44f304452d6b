"""How much is on its way at once: lanes, chunks and credit, by the cluster and the pictures."""

from operators.translate import Translate
from pipeline.chunk import DEPTH, chunk_length
from pipeline.io.endpoint import StreamInfo
from pipeline.ray_settings import RaySettings
from pipeline.segmenting import frames_of_segment
from pipeline.stage import Pipeline, ahead_of, halo_of, overlap_of
from pipeline.video_job import Limits

# Half of the object store is left to what is being made and what nobody has cleared away yet.
STORE_SHARE = 0.5
# Frames of a video that does not say how many it has.
UNKNOWN_LENGTH = 10_000
# The end of a segment or of a video, when some workers have no chunk any more, shall be short.
SMALLER = 2
# Videos that begin or end while others are computed.
LANES_FOR_VIDEOS = 4
# As many workers as a lane's decoder, owners and encoder keep up with, as a rule.
WORKERS_PER_LANE = 8


def num_lanes(settings: RaySettings, workers: int, nodes: int, num_videos: int) -> int:
    """Segments that are open at once: enough for all workers and nodes.

    Of one video two at least, so that one is computed while another begins or ends. Videos begin
    and end more slowly, so of many there are more.

    Args:
        settings: How the engine runs.
        workers: Replicas of the largest pool.
        nodes: Nodes on which segments are computed.
        num_videos: Videos of the job.
    """
    lanes = max(2, nodes, -(-workers // WORKERS_PER_LANE))
    return settings.lanes or max(lanes, min(num_videos, lanes + LANES_FOR_VIDEOS))


def limits_of(
    pipeline: Pipeline,
    info: StreamInfo,
    settings: RaySettings,
    *,
    workers: int,
    lanes: int,
    abreast: int,
    store_bytes: float,
) -> Limits:
    """What the coordinator of a video may use.

    Args:
        pipeline: What is to be done.
        info: Of its source.
        settings: How the engine runs.
        workers: Replicas of the largest pool.
        lanes: Segments that are open at once, of all videos together.
        abreast: Videos that share the pools.
        store_bytes: Room for objects on the smallest node.
    """
    halo = halo_of(pipeline.stages)
    frame_bytes = bytes_per_frame(pipeline, info)
    num_frames = info.num_frames or UNKNOWN_LENGTH
    length = min(num_frames, frames_of_segment(num_frames, halo, settings.segment_frames))
    # The segments that are open together give every worker its chunks, also on large clusters. Of
    # many videos some are always just opened or joined, and give none.
    smaller = SMALLER if abreast == 1 else 2 * SMALLER
    fair = max(1, length * lanes // (smaller * DEPTH * max(1, workers)))
    chunk_frames = settings.chunk_frames or min(chunk_length(frame_bytes), fair)
    room = int(STORE_SHARE * store_bytes / max(1, chunk_frames * frame_bytes * abreast))
    return Limits(
        segment_frames=settings.segment_frames,
        chunk_frames=chunk_frames,
        max_credits=max(1, room),
        halo=halo,
        ahead=ahead_of(pipeline.stages),
        overlap=overlap_of(pipeline.stages),
        attempts=settings.attempts,
        stall_s=settings.stall_s,
        replace_s=max(settings.stall_s, settings.start_s),
    )


def bytes_per_frame(pipeline: Pipeline, info: StreamInfo) -> int:
    """What a frame is at its largest between two stages: an interval with all that it carries.

    These are its images as the translator takes or as it makes them, whichever are larger, the
    flow of its pair, its masks, and the untranslated images that a later stage reads.
    """
    pixels, wire = info.width * info.height, pipeline.wire
    operators = [stage.operator for stage in pipeline.stages]
    num_images = max((getattr(one, "images_per_frame", 1) for one in operators), default=1)
    picture = 3 * pixels * wire.picture_bytes()
    largest, num_kept = picture, 0
    for one in operators:
        if isinstance(one, Translate):
            traits = one.translator.traits
            number = wire.picture_bytes() if traits.is_picture else wire.signal_bytes()
            largest = max(largest, traits.channels * pixels * traits.scale**2 * number)
            num_kept = one.num_kept(num_images)
    has_flow = any(getattr(one, "carries_flow", False) for one in operators)
    flow = 4 * pixels * wire.flow_bytes() if has_flow else 0
    masks = num_images * pixels if getattr(pipeline.source, "has_masks", False) else 0
    return num_images * largest + flow + masks + num_kept * picture
