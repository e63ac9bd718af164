"""
On a GPU: populations over all steps in one Triton kernel, and a network that the CUDA target emitted.

    python benchmarks/gpu.py [--only populations|network] [--numbers 67108864]

`populations`: equal to the CPU's numbers, bit for bit; bytes read and written a second beside a copy of the same size (the memory's limit)
and beside the eager functions. `network`: a LeNet in 8 bits with random weights, emitted, compiled by nvcc and run: equal to the integer
reference; microseconds an image, all weights and those of active inputs only. Needs a GPU, Triton and nvcc; where one of them is missing it
says so and measures nothing.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import Row, write
from spikeloom.backend import Golden
from spikeloom.backend.cuda import TARGET, CudaOptions
from spikeloom.ir.hardware import Affine, Convolution, Membrane, Netlist, Operation, Pool, Population, Route, Source, Wire, netlist_of
from spikeloom.kernels import triton_populations
from spikeloom.neuron import run_uniform
from spikeloom.simulate.integers import run_integers
from spikeloom.simulate.kernel import run_population

COMMAND = "python benchmarks/gpu.py"
KINDS: dict[str, dict[str, Any]] = {
    "SFN, 15 levels, T=1": {"levels": 15, "negative": 0, "reset": "subtract", "timesteps": 1},
    "IF, T=8": {"levels": 1, "negative": 0, "reset": "subtract", "timesteps": 8},
    "LIF, reset to zero, T=8": {"levels": 1, "negative": 0, "reset": "zero", "timesteps": 8, "decay": True},
    "IF, 7 levels of either sign, T=32": {"levels": 7, "negative": 7, "reset": "subtract", "timesteps": 32},
    "gated, T=16": {"levels": 15, "negative": 0, "reset": "gated", "timesteps": 16},
}
CHANNELS, TURNS = 64, 50


def fastest_ms(function: Callable[[], object]) -> float:
    """The least time of many runs on the GPU, after three that do not count."""
    for _ in range(3):
        function()
    least = float("inf")
    for _ in range(TURNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        least = min(least, begin.elapsed_time(end))
    return least


def population(kind: dict[str, Any], numbers: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor, Tensor, Any], dict[str, Any]]:
    """Inputs [T·B, 64, 28, 28] of about so many numbers, step, v[0] and decay, and the rest of what `run_population` is told."""
    steps = kind["timesteps"]
    batch = max(numbers // (steps * CHANNELS * 28 * 28), 1)
    x = torch.randn(steps * batch, CHANNELS, 28, 28, generator=generator)
    step = torch.rand(CHANNELS, generator=generator) + 0.1
    decay = torch.rand(CHANNELS, generator=generator) if kind.get("decay") else 1.0
    return (x, step, step / 2, decay), {**{key: kind[key] for key in ("levels", "negative", "reset", "timesteps")}, "axis": 1}


def there(value: Any) -> Any:
    """On the GPU."""
    return value.cuda() if isinstance(value, Tensor) else value


def populations(numbers: int) -> list[Row]:
    """Equality, bandwidth beside a copy, time beside the eager functions."""
    rows, command, generator = list[Row](), f"{COMMAND} --only populations", torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for name, kind in KINDS.items():
            small, told = population(kind, 1 << 21, generator)
            given = [there(each) for each in small]
            if not triton_populations.serves(*(each for each in given if isinstance(each, Tensor))):
                sys.exit("Triton does not serve these tensors")
            differ = int((run_population(*given, 0.0, **told).cpu() != run_population(*small, 0.0, **told)).sum())
            rows.append(
                Row(f"{name}: numbers that differ from the CPU's", differ, "", command, {"of": small[0].numel()}, None, "0", differ == 0)
            )
            large = [there(each) for each in population(kind, numbers, generator)[0]]
            x, out = large[0], torch.empty_like(large[0])
            took = fastest_ms(lambda large=large, told=told, out=out: run_population(*large, 0.0, **told, out=out))
            copied = fastest_ms(lambda x=x, out=out: out.copy_(x))
            eager = fastest_ms(lambda large=large, told=told: run_uniform(*large, 0.0, **told))
            share, speed = copied / took, 8e-6 * x.numel() / took
            beside = {"GB/s": round(speed), "copy GB/s": round(8e-6 * x.numel() / copied), "numbers": x.numel()}
            rows.append(
                Row(f"{name}: bandwidth of a copy's", round(100 * share, 1), "%", command, beside, None, "at least 80", share >= 0.8)
            )
            rows.append(Row(f"{name}: eager / Triton", round(eager / took, 2), "x", command, {"eager_ms": eager, "triton_ms": took}))
    return rows


def lenet(timesteps: int) -> Netlist:
    """LeNet in 8 bits with random weights."""
    rng = np.random.default_rng(0)
    steps = np.arange(0, 16 if timesteps == 1 else 2)

    def neurons(name: str, read: str, quantum: int) -> Population:
        return Population(
            name, (read,), quantum * steps[None, 1:], steps[None], 0, Membrane(np.array([quantum // 2]), quantum * steps[None])
        )

    def weight(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape)

    operations: list[Operation] = [
        Convolution("c1", ("x",), weight(6, 1, 5, 5), rng.integers(-999, 999, 6), (1, 1), (2, 2)),
        neurons("p1", "c1", 20000),
        Pool("m1", ("p1",), "max", (2, 2), (2, 2)),
        Convolution("c2", ("m1",), weight(16, 6, 5, 5)),
        neurons("p2", "c2", 900 if timesteps > 1 else 1500),
        Pool("m2", ("p2",), "max", (2, 2), (2, 2)),
        Route("f", ("m2",), (400,)),
        Affine("a1", ("f",), weight(120, 400)),
        neurons("p3", "a1", 900),
        Affine("a2", ("p3",), weight(84, 120)),
        neurons("p4", "a2", 900),
        Affine("a3", ("p4",), weight(10, 84), rng.integers(-99, 99, 10)),
    ]
    return netlist_of(Source("x", 1 / 255), Wire((1, 28, 28), 0, 255), operations, "a3", timesteps=timesteps)


def network() -> list[Row]:
    """The emitted LeNet: equality, and time an image."""
    rows, command = list[Row](), f"{COMMAND} --only network"
    for timesteps in (1, 8):
        netlist = lenet(timesteps)
        inputs = np.random.default_rng(1).integers(0, 256, (100, 1, 28, 28))
        golden = Golden(inputs, run_integers(netlist, inputs))
        for kernels in ("dense", "event"):
            options, name = CudaOptions(kernels=kernels), f"LeNet, T={timesteps}, {kernels}"
            with tempfile.TemporaryDirectory() as scratch:
                place = Path(scratch)
                for path, content in TARGET.emit(netlist, golden, options).items():
                    (place / path).write_bytes(content)
                verdict = TARGET.verify(place, netlist, golden, options)
                told = {"how": verdict.how, **verdict.numbers}
                wrong = verdict.mismatches
                rows.append(Row(f"{name}: images that differ, of {verdict.samples}", wrong, "", command, told, None, "0", wrong == 0))
                subprocess.run(["make", "-s", "network_test"], cwd=place, check=True)
                for batch in (1, 1024):
                    said = subprocess.run(["./network_test", "--time", str(batch)], cwd=place, capture_output=True, text=True, check=True)
                    found = re.search(r"([\d.]+) us each", said.stdout)
                    rows.append(Row(f"{name}: an image, batch {batch}", float(found[1]) if found else None, "us", command))
    return rows


def missing(parts: list[str]) -> str:
    """What this machine lacks, in words; "" where nothing."""
    lacks = [] if torch.cuda.is_available() or parts == ["network"] else ["a GPU that torch sees"]
    lacks += ["triton"] if "populations" in parts and find_spec("triton") is None else []
    if "network" in parts:
        lacks += [tool for tool in ("nvcc", "nvidia-smi", "make") if shutil.which(tool) is None]
    return ", ".join(lacks)


def main() -> None:
    """Run what was asked for and write benchmarks/results/gpu.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("populations", "network"))
    parser.add_argument("--numbers", type=int, default=1 << 26, help="inputs of a population")
    options = parser.parse_args()
    parts = [options.only] if options.only else ["populations", "network"]
    if lacks := missing(parts):
        print(f"this benchmark measures on a GPU, and this machine lacks {lacks}: no numbers were made", flush=True)
        return  # no failure: `make bench` goes on
    rows = [row for part in parts for row in (populations(options.numbers) if part == "populations" else network())]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else subprocess.check_output(["nvidia-smi", "-L"], text=True).strip()
    rows.append(Row("device", device, "", COMMAND))
    print("\n".join(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}" for row in rows), flush=True)
    write("gpu", rows, part=options.only is not None)


if __name__ == "__main__":
    main()
