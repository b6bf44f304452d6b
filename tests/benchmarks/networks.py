"""Every network of the table against its plain form, in one run: layout, compiling, threads, CUDA.

Prints JSON: a line on the machine, a line for each network, and a line on how long it all took.
The line of a network gives, on each device, the milliseconds of a plain call, and how many times
faster each other way is. Calls of both ways alternate, and the quickest of either are compared; on
the CPU, with one thread, it is the time of the processor that counts, so that other programs
disturb little. Weights are random and repeatable; the work is that of real ones, except that
RIFE 3.9 repeats its first blocks only where motion is large.

Compiled are those networks that `--compile` compiles on the device, one of each class (networks of
a class differ in the number of channels), from nothing: `first_call_s` is what a user waits.
``--compile-all`` compiles the others too, to see whether they should be. ``--quick`` leaves out
compiling and threads, and takes smaller pictures and fewer calls; ``--only NAME`` may be repeated.

    PYTHONPATH=.:tests python tests/benchmarks/networks.py

takes about twelve minutes on two cores without a GPU.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sample_networks import sample_inputs, seeded_network, tensors_of

from operators.accelerate import PLAIN, Acceleration, accelerated
from operators.models.entry import Entry
from operators.models.registry import entries
from operators.nested import mapped

SIZE, QUICK_SIZE = (256, 448), (64, 128)
CALLS, QUICK_CALLS = 9, 5
# A comparison of slow networks ends before all calls, but not before these.
BUDGET_S, LEAST_CALLS = 8.0, 3
THREADS = (1, 2)
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Call:
    """One way to call a network, the clock that it is measured by, and its first call."""

    run: Callable[[], Any]
    clock: Callable[[], float]
    first: list[torch.Tensor]
    first_call_s: float

    def seconds(self) -> float:
        """What one call takes."""
        begin = self.clock()
        self.run()
        return self.clock() - begin


def prepared(
    entry: Entry, size: tuple[int, int], device: torch.device, how: Acceleration = PLAIN
) -> Call:
    """The network on a device, called once."""
    network = accelerated(seeded_network(entry), device, how, entry.parts)
    inputs = mapped(sample_inputs(entry, *size), lambda tensor: tensor.to(device))

    def run() -> Any:
        with torch.no_grad():
            result = network(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    begin = time.perf_counter()
    first = [tensor.cpu() for tensor in tensors_of(run())]
    return Call(run, clock, first, round(time.perf_counter() - begin, 1))


def rounds(calls: int) -> Iterator[None]:
    """As many as ``calls``, or as fit the budget."""
    begin = time.perf_counter()
    for done in range(calls):
        if done >= LEAST_CALLS and time.perf_counter() - begin > BUDGET_S:
            return
        yield


def compared(plain: Call, other: Call, calls: int) -> dict[str, float]:
    """How many times faster the other way is, and how far its result is from the plain one."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in rounds(calls):
        for call, taken in zip((plain, other), times, strict=True):
            taken.append(call.seconds())
    plain_ms, other_ms = (1e3 * min(taken) for taken in times)
    return {
        "plain_ms": round(plain_ms, 2),
        "times_faster": round(plain_ms / other_ms, 2),
        "largest_error": max(map(relative_error, other.first, plain.first)),
        "first_call_s": other.first_call_s,
    }


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The root mean square of the error, relative to that of what is expected."""
    scale = expected.double().norm().clamp(min=1e-12)
    return float(f"{(found.double() - expected.double()).norm() / scale:.1e}")


def threads_compared(entry: Entry, size: tuple[int, int], calls: int) -> dict[str, float]:
    """Milliseconds on the CPU for each number of threads."""
    plain = prepared(entry, size, CPU)
    taken: dict[int, list[float]] = {count: [] for count in THREADS}
    for _ in rounds(calls):
        for count in THREADS:
            torch.set_num_threads(count)
            # The time of the processor would add up what the threads take.
            begin = time.perf_counter()
            plain.run()
            taken[count].append(time.perf_counter() - begin)
    torch.set_num_threads(1)
    return {str(count): round(1e3 * min(taken[count]), 2) for count in THREADS}


def ways(entry: Entry, device: torch.device, *, compiles: bool) -> dict[str, Acceleration]:
    """What is compared with the plain call on a device."""
    found = {"channels_last": Acceleration(channels_last=True)}
    if compiles:
        found["compile"] = Acceleration(compile=True)
    if device.type == "cuda":
        found["float16"] = Acceleration("float16")
        found["float16 channels_last"] = Acceleration("float16", channels_last=True)
        if entry.is_recordable:
            found["cuda_graphs"] = Acceleration(cuda_graphs=True)
            found["float16 cuda_graphs"] = Acceleration("float16", cuda_graphs=True)
    return found


def measured(
    entry: Entry, device: torch.device, scale: tuple[tuple[int, int], int], *, compiles: bool
) -> dict[str, dict[str, float]]:
    """Every way of a network on a device against its plain call."""
    size, calls = scale
    plain = prepared(entry, size, device)
    return {
        name: compared(plain, prepared(entry, size, device, how), calls)
        for name, how in ways(entry, device, compiles=compiles).items()
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "command": " ".join(sys.argv),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compile-all", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    scale = (QUICK_SIZE, QUICK_CALLS) if given.quick else (SIZE, CALLS)
    devices = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    # Those of one module with as many parameters differ in weights, padding and strides only.
    networks = {
        (entry.network.partition(":")[0], entry.parameters): entry
        for entry in reversed(entries())
        if entry.network
    }
    chosen = [
        entry for entry in reversed(networks.values()) if not given.only or entry.name in given.only
    ]
    # Of each module, and so of each class, the first.
    compiled = {entry.network.partition(":")[0]: entry for entry in reversed(chosen)}
    torch.set_num_threads(1)
    torch.compiler.config.force_disable_caches = True
    begin = time.perf_counter()
    print(json.dumps(machine()), flush=True)
    for entry in chosen:
        is_first = not given.quick and entry in compiled.values() and bool(entry.adapter)
        row: dict[str, Any] = {"network": entry.name, "size": scale[0]}
        for device in devices:
            pays = given.compile_all or device.type in entry.compiles_on
            row[device.type] = measured(entry, device, scale, compiles=is_first and pays)
        if not given.quick:
            row["cpu_ms_by_threads"] = threads_compared(entry, *scale)
        print(json.dumps(row), flush=True)
    print(json.dumps({"seconds": round(time.perf_counter() - begin)}), flush=True)


if __name__ == "__main__":
    main()
