"""Does memory grow with the length of the video? Prints JSON.

For each size a synthesised video is run through the command twice, in a process of its own, once
short and once long; compared is the highest resident memory of the two. Run from the repository
root:

    PYTHONPATH=.:tests python tests/benchmarks/memory.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from clips import write_clip

SIZES = ((96, 128), (240, 432))
LENGTHS = (100, 600)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs=2, default=LENGTHS, metavar=("SHORT", "LONG"))
    parser.add_argument("--model", default="styles:19")
    arguments = parser.parse_args()

    short, long = arguments.frames
    report = {}
    for height, width in SIZES:
        peaks = [peak_bytes(frames, (height, width), arguments.model) for frames in (short, long)]
        report[f"{height}x{width}"] = {
            "peak_mib": {
                str(frames): round(peak / 2**20, 1)
                for frames, peak in zip((short, long), peaks, strict=True)
            },
            "ratio": round(peaks[1] / peaks[0], 4),
        }
    json.dump({"model": arguments.model, **report}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def peak_bytes(num_frames: int, size: tuple[int, int], model: str) -> int:
    """The highest resident memory of a run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        source, sink = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        write_clip(source, pts=range(num_frames), size=size)
        command = [sys.executable, "-m", "pipeline.cli", "run", str(source), str(sink)]
        process = subprocess.Popen(  # noqa: S603 - the command is this project's own
            [*command, "--no-progress", "--device", "cpu", "--model", model]
        )
        # Of this child alone; getrusage would give the highest of all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(process.returncode)
    # Linux counts in KiB, macOS in bytes.
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
