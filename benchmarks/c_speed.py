"""
Emitted C against the ANN in onnxruntime, fp32 and int8, on one core at batch 1; and event-driven against dense C over sparsity.

    python benchmarks/c_speed.py [--parts networks sparsity] [--only lenet resnet20 gates trained] [--seconds 6]

`networks`: LeNet and ResNet-20 (T = 1, N = 15, of benchmarks/hardware.py), LeNet taught as gates (of the same) and a logic-gated network
784-2048-2048-10 (random ternary weights, as they are before training; binary spikes). The ANN of the same form runs in onnxruntime; int8 is
its static quantisation, per channel, the faster of its two formats. All take turns on the same picture; each is given its input in its own
form, C through ctypes. `sparsity`: one layer with neurons, inputs random, so many of them 0; the crossing is where both take as long.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from hardware import GATES, LENET, RESNET, named, network, pictures
from harness.clock import fastest
from harness.rows import Row, write
from spikeloom import zoo
from spikeloom.backend import Golden
from spikeloom.backend.c import TARGET, COptions
from spikeloom.backend.folder import write_files
from spikeloom.backend.lower import InputRange, lower
from spikeloom.capture import load_weights
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Population, Source, Wire, netlist_of
from spikeloom.logic import freeze, fully_connected
from spikeloom.pipeline.input_range import input_range
from spikeloom.simulate.integers import quantised_input, run_integers

COMMAND = "python benchmarks/c_speed.py"
SPARSITY = (0, 25, 50, 60, 70, 80, 85, 90, 95, 97, 99)
NUMBERS = {False: np.uint8, True: np.int8}
CALLS = 20


def compiled(netlist: Netlist, x: np.ndarray, folder: Path, **options: str) -> Callable[[np.ndarray], Callable[[], object]]:
    """What makes of a sample a call of the emitted network, after a look whether it answers as the reference does on all of `x`."""
    asked, golden = COptions.model_validate(options), Golden(x, run_integers(netlist, x))
    write_files(folder, TARGET.emit(netlist, golden, asked))
    command = ["gcc", *asked.flags.split(), "-std=c11", "-shared", "-fPIC", "net.c", "net_weights.c", "-o", "net.so"]
    subprocess.run(command, cwd=folder, check=True)
    if TARGET.verify(folder, netlist, golden, asked).mismatches:
        raise RuntimeError("C differs from the reference")
    wire = netlist.wires[netlist.source.name]
    run = ctypes.CDLL(str(folder / "net.so")).net_run
    run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_void_p], None

    def of(sample: np.ndarray) -> Callable[[], object]:
        shown, given = np.ascontiguousarray(sample, NUMBERS[wire.signed]), np.zeros(netlist.wires[netlist.output].size, np.int64)
        into, out = shown.ctypes.data, given.ctypes.data
        kept = (shown, given)  # their memory lives as long as the call
        return lambda: (run(into, out), kept)

    return of


class _Pictures(CalibrationDataReader):
    def __init__(self, x: Tensor) -> None:
        self.left = iter([{"x": part.numpy()} for part in x.split(1)])

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One picture after the other."""
        return next(self.left, None)


def peers(model: nn.Module, x: Tensor, folder: Path, seconds: float) -> dict[str, Callable[[], object]]:
    """The ANN in onnxruntime on one core: fp32, and the faster of the two formats of int8."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (x[:1],), str(folder / "fp32.onnx"), dynamo=False, input_names=["x"], opset_version=17)
    told = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    runs = {"fp32": _session(folder / "fp32.onnx", x)}
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(str(folder / "fp32.onnx"), str(folder / f"{form.name}.onnx"), _Pictures(x[:64]), quant_format=form, **told)
        runs[form.name] = _session(folder / f"{form.name}.onnx", x)
    formats = ["QDQ", "QOperator"]
    times = fastest({name: runs[name] for name in formats}, seconds / 4, CALLS)
    return {"fp32": runs["fp32"], "int8": runs[min(formats, key=times.__getitem__)]}


def _session(path: Path, x: Tensor) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session, given = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), {"x": x[:1].numpy()}
    return lambda: session.run(None, given)


def converted(settings: object, weights_of: str) -> tuple[nn.Module, Tensor, Netlist]:
    """(ANN, test pictures, netlist) of a network of benchmarks/hardware.py."""
    snn = network(named(settings), settings, whole=True)  # pyright: ignore[reportArgumentType]
    x = next(pictures(settings, 100)())[0]  # pyright: ignore[reportArgumentType]
    model = zoo.build(weights_of)
    load_weights(model, settings.weights)  # pyright: ignore[reportAttributeAccessIssue]
    return model, x, lower(snn.program, 1, input_range(snn.program, [(x,)]))


def gated() -> tuple[nn.Module, Tensor, Netlist]:
    """A logic-gated network for MNIST's pictures made binary, and a floating one of the same shape, both of random weights: they are timed,
    not judged."""
    torch.manual_seed(0)
    x = next(pictures(LENET, 100)())[0].flatten(1)
    x = (x > (x.min() + x.max()) / 2).float()
    wide = 2048
    model = nn.Sequential(nn.Linear(784, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 10))
    gates = fully_connected(784, (wide, wide), 10).eval()
    return model, x, lower(freeze(gates, x[:2]), 1, InputRange(0.0, 1.0, 1.0))


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor, Netlist]]] = {
    "lenet": lambda: converted(LENET, "lenet"),
    "resnet20": lambda: converted(RESNET, "cifar-resnet20"),
    "gates": gated,
    "trained": lambda: converted(GATES, "lenet"),
}
TITLES = {
    "lenet": "LeNet",
    "resnet20": "ResNet-20",
    "gates": "logic-gated 784-2048-2048-10, random weights",
    "trained": "logic-gated LeNet, trained",
}
WANTED = {"gates": 1.0, "trained": 1.0}
"""How many times as fast as int8 a network has to be."""


def networks(only: list[str], seconds: float) -> Iterator[Row]:
    """Whole networks against onnxruntime."""
    for name in only:
        model, x, netlist = NETWORKS[name]()
        q = quantised_input(netlist, x[:1].numpy())
        with tempfile.TemporaryDirectory() as scratch:
            runs = peers(model, x, Path(scratch) / "onnx", seconds)
            runs |= {kernels: compiled(netlist, q, Path(scratch) / kernels, kernels=kernels)(q[0]) for kernels in ("dense", "event")}
            times = fastest(runs, seconds, CALLS)
        report = TARGET.report(netlist, COptions())
        told = {f"{key}_us": round(value * 1e6, 2) for key, value in times.items()}
        told |= {key: report[key] for key in ("rom_bytes", "ram_bytes", "products")}
        for peer in ("int8", "fp32"):
            for kernels in ("dense", "event"):
                ratio, least = times[peer] / times[kernels], WANTED.get(name) if (peer, kernels) == ("int8", "dense") else None
                target, holds = (None, None) if least is None else (f"more than {least:g}", ratio > least)
                title = f"{TITLES[name]}: C ({kernels}) over onnxruntime {peer}, batch 1, one core"
                yield Row(title, round(ratio, 2), "x", f"{COMMAND} --parts networks --only {name}", told, None, target, holds)


def layers() -> Iterator[tuple[str, Netlist]]:
    """Single layers with neurons."""
    rng = np.random.default_rng(0)

    def levels(name: str, reads: str, channels: int, spread: int) -> Population:
        steps = rng.uniform(spread / 30, spread / 15, (channels, 1))
        return Population(name, (reads,), np.ceil(steps * np.arange(1, 16)).astype(np.int64), np.arange(16)[None])

    def spiking(name: str, reads: str, channels: int) -> Population:
        return Population(name, (reads,), rng.integers(0, 20, (channels, 1)), np.array([[0, 1]]))

    source, whole = Source("x", 1.0), lambda *shape: rng.integers(-127, 128, shape)
    for size, channels in ((32, 16), (16, 32), (8, 64)):
        layer = Convolution("c", ("x",), whole(channels, channels, 3, 3), None, (1, 1), (1, 1))
        made = [layer, levels("p", "c", channels, 20_000)]
        name = f"convolution 3x3, {channels} channels, {size}x{size}, 15 levels"
        yield name, netlist_of(source, Wire((channels, size, size), 0, 15, True), made, "p")
    made = [Affine("a", ("x",), whole(1024, 1024)), levels("p", "a", 1024, 20_000)]
    yield "linear 1024x1024, 15 levels", netlist_of(source, Wire((1024,), 0, 15, True), made, "p")
    ternary = lambda *shape: rng.integers(-1, 2, shape)  # noqa: E731
    made = [Affine("a", ("x",), ternary(2048, 2048)), spiking("p", "a", 2048)]
    yield "ternary linear 2048x2048, spikes", netlist_of(source, Wire((2048,), 0, 1, True), made, "p")
    made = [Convolution("c", ("x",), ternary(64, 64, 3, 3), None, (1, 1), (1, 1)), spiking("p", "c", 64)]
    yield "ternary convolution 3x3, 64 channels, 8x8, spikes", netlist_of(source, Wire((64, 8, 8), 0, 1, True), made, "p")


def sparsity(seconds: float) -> Iterator[Row]:
    """Event-driven against dense over the share of inputs that are 0."""
    rng = np.random.default_rng(1)
    for name, netlist in layers():
        wire, table = netlist.wires["x"], dict[str, dict[str, float]]()
        dense = rng.integers(1, wire.high + 1, wire.shape)
        x = np.stack([dense * (rng.random(wire.shape) >= silent / 100) for silent in SPARSITY])
        with tempfile.TemporaryDirectory() as scratch:
            made = {kernels: compiled(netlist, x, Path(scratch) / kernels, kernels=kernels) for kernels in ("dense", "event")}
            for silent, sample in zip(SPARSITY, x, strict=True):
                times = fastest({kernels: of(sample) for kernels, of in made.items()}, seconds / len(SPARSITY), CALLS)
                table[str(silent)] = {kernels: round(value * 1e6, 2) for kernels, value in times.items()}
        crossing = crossed(table)
        last = table[str(SPARSITY[-1])]
        told = {"us": table, "event over dense at 99 %": round(last["dense"] / last["event"], 2)}
        yield Row(f"{name}: sparsity from which event-driven C is faster", crossing, "%", f"{COMMAND} --parts sparsity", told)


def crossed(table: dict[str, dict[str, float]]) -> float | str:
    """Where both take as long, between the two sparsities around it."""
    points = [(float(silent), row["event"] / row["dense"]) for silent, row in table.items()]
    if points[0][1] < 1:
        return 0.0
    for (left, above), (right, below) in pairwise(points):
        if below < 1 <= above:
            return round(left + (right - left) * (above - 1) / (above - below), 1)
    return "never"


def main() -> None:
    """Measure the parts asked for; rows of others stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("networks", "sparsity"), default=["networks", "sparsity"])
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each comparison")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.parts:
        for row in networks(options.only, options.seconds) if part == "networks" else sparsity(options.seconds):
            sys.stdout.write(f"{row.name}: {row.value} {row.control} holds={row.holds}\n")
            sys.stdout.flush()
            write("hardware", [row], part=True)


if __name__ == "__main__":
    main()
