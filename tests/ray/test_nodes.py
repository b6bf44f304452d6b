"""A node that is lost or taken away costs time and nothing else."""

from pathlib import Path

import pytest
from agreement import Output, assert_same
from three_nodes import run_once

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_node_that_dies_costs_a_stall_and_no_frame(tmp_path: Path, expected: Output) -> None:
    result = run_once(tmp_path)

    assert result["has_happened"]
    assert result["retries"] >= 1
    assert_same(result["output"], expected)


def test_a_node_that_is_drained_is_left_before_it_goes(tmp_path: Path, expected: Output) -> None:
    result = run_once(tmp_path, is_drain=True)

    assert result["has_happened"]
    assert_same(result["output"], expected)
