"""Every network of the table against its plain form, in one run: layout, compiling, threads, CUDA.

Prints one line of JSON for each network: on each device the milliseconds of a plain call, and how
many times faster each other way is. Calls of both ways alternate, and the quickest of either are
compared; on the CPU, with one thread, it is the time of the processor that counts, so that other
programs disturb little. Weights are random and repeatable; the work is that
of real ones, except that RIFE 3.9 repeats its first blocks only where motion is large.

``--quick`` leaves out compiling and threads, and takes smaller pictures and fewer calls;
``--only NAME`` may be repeated.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sample_networks import sample_inputs, seeded_network, tensors_of

from operators.accelerate import PLAIN, Acceleration, accelerated
from operators.models.entry import Entry
from operators.models.registry import entries
from operators.nested import mapped

SIZE, QUICK_SIZE = (256, 448), (64, 128)
CALLS, QUICK_CALLS = 9, 5
THREADS = (1, 2)
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Call:
    """One way to call a network, the clock that it is measured by, and its first result."""

    run: Callable[[], Any]
    clock: Callable[[], float]
    first: list[torch.Tensor]

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
    return Call(run, clock, [tensor.cpu() for tensor in tensors_of(run())])


def compared(plain: Call, other: Call, calls: int) -> dict[str, float]:
    """How many times faster the other way is, and how far its result is from the plain one."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls):
        for call, taken in zip((plain, other), times, strict=True):
            taken.append(call.seconds())
    plain_ms, other_ms = (1e3 * min(taken) for taken in times)
    return {
        "plain_ms": round(plain_ms, 2),
        "times_faster": round(plain_ms / other_ms, 2),
        "largest_error": max(map(relative_error, other.first, plain.first)),
    }


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The root mean square of the error, relative to that of what is expected."""
    scale = expected.double().norm().clamp(min=1e-12)
    return float(f"{(found.double() - expected.double()).norm() / scale:.1e}")


def threads_compared(entry: Entry, size: tuple[int, int], calls: int) -> dict[str, float]:
    """Milliseconds on the CPU for each number of threads."""
    plain = prepared(entry, size, CPU)
    taken: dict[int, list[float]] = {count: [] for count in THREADS}
    for _ in range(calls):
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


def measured(entry: Entry, device: torch.device, *, is_quick: bool) -> dict[str, dict[str, float]]:
    """Every way of a network on a device against its plain call."""
    size, calls = (QUICK_SIZE, QUICK_CALLS) if is_quick else (SIZE, CALLS)
    plain = prepared(entry, size, device)
    return {
        name: compared(plain, prepared(entry, size, device, how), calls)
        for name, how in ways(entry, device, compiles=not is_quick).items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    size, calls = (QUICK_SIZE, QUICK_CALLS) if given.quick else (SIZE, CALLS)
    devices = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    # Names that share a network differ in their weights only.
    networks = {entry.network: entry for entry in reversed(entries()) if entry.network}
    torch.set_num_threads(1)
    for entry in reversed(networks.values()):
        if given.only and entry.name not in given.only:
            continue
        row: dict[str, Any] = {"network": entry.name, "size": size}
        for device in devices:
            row[device.type] = measured(entry, device, is_quick=given.quick)
        if not given.quick:
            row["cpu_ms_by_threads"] = threads_compared(entry, size, calls)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
