"""The metrics of a job, read back from where Prometheus reads them."""

import http.client
import time
from contextlib import suppress

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from pipeline.gauges import Gauges
from pipeline.tally import JobState, StageRate

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

JOB = "test-job"
# Name, and its stage where it has one.
Series = tuple[str, str | None]


def exported() -> dict[Series, float]:
    """What the node tells of this job."""
    (node,) = ray.nodes()
    connection = http.client.HTTPConnection(
        node["NodeManagerAddress"], node["MetricsExportPort"], timeout=5
    )
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {
        (sample.name, sample.labels.get("stage")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("job") == JOB
    }


def test_prometheus_reads_what_was_shown() -> None:
    gauges = Gauges(JOB)
    stages = (
        StageRate("translate", 90, 2.5, 0.75, workers=4, queued=2, queue_age_s=1.5),
        StageRate("encode", 0, None, None, workers=1, queued=0, queue_age_s=0.0),
    )
    gauges.show(JobState(num_frames=100, stages=stages), retries=0)
    gauges.show(JobState(frames_done=10, num_frames=100, stages=stages), retries=2)
    gauges.show(
        JobState(frames_done=40, num_frames=100, in_flight_bytes=4096, stages=stages), retries=5
    )

    # Of the encoder nothing is known but its workers and its queue.
    expected = {
        ("ray_hypercon_stage_fps", "translate"): 2.5,
        ("ray_hypercon_stage_busy_share", "translate"): 0.75,
        ("ray_hypercon_stage_queue_age_seconds", "translate"): 1.5,
        ("ray_hypercon_stage_queue_age_seconds", "encode"): 0,
        ("ray_hypercon_stage_workers", "translate"): 4,
        ("ray_hypercon_stage_workers", "encode"): 1,
        ("ray_hypercon_in_flight_bytes", None): 4096,
        ("ray_hypercon_frames_done", None): 40,
        ("ray_hypercon_frames_total", None): 100,
        ("ray_hypercon_retries_total", None): 5,
    }
    # Ray passes metrics on every ten seconds.
    deadline = time.monotonic() + 60
    found: dict[Series, float] = {}
    while found != expected and time.monotonic() < deadline:
        time.sleep(0.5)
        with suppress(OSError):  # It may take its time, and is asked again.
            found = exported()
    assert found == expected
