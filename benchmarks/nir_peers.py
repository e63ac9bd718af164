"""
NIR peers: networks that we write as NIR, run by the tools that read it, spike for spike against the integer reference.

    python benchmarks/nir_peers.py [--samples 32] [--ticks 10]

Writes benchmarks/results/nir_peers.json. The tools live in an environment of their own, .venv-peers, which is made where it is missing:
norse, sinabs and spikingjelly declare torchvision or closed libraries, so they are installed without what they declare. Each tool gets the
spelling that it reads (`--option` of the target nir) and the reset that its own switches allow; what it then makes of the network is said
as it is: match, differs by n of m spikes, or refuses. Nothing of a tool is patched.
"""

import argparse
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.rows import ROOT, Row, write

FOLDER = ROOT / ".venv-peers"
COMMAND = "python benchmarks/nir_peers.py"
PEERS = ["norse==1.1.0", "sinabs==3.1.3", "spikingjelly==2.0.0", "snntorch==1.0.0", "pbr"]
NEEDED = ("nir", "nirtorch", "norse", "sinabs", "spikingjelly", "snntorch", "loguru", "spikeloom")


@dataclass(frozen=True)
class Network:
    """A network of the table, and how its neurons reset."""

    name: str
    netlist: Any
    reset: str


def main() -> int:
    """Every network in every tool; 1 where a match that is promised is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--ticks", type=int, default=10)
    options = parser.parse_args()
    if not all(importlib.util.find_spec(name) is not None for name in NEEDED):
        _enter()
    rows = [row for network in networks(options.ticks) for row in measured(network, options.samples)]
    write("nir_peers", rows)
    for row in rows:
        print(f"{row.name:58} {row.value}")
    return int(any(row.holds is False for row in rows))


def _enter() -> None:
    """Go on in the environment of the tools, made first where it is not there; does not return."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / "ready").is_file():
        print(f"making {FOLDER} (once: torch, the tools, this checkout)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        for wanted in (["torch==2.13.0"], ["-e", f"{ROOT}[nir]", "nirtorch==2.6", "loguru", "tensorboard"], ["--no-deps", *PEERS]):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        (FOLDER / "ready").touch()
    os.execv(python, [str(python), *sys.argv])


def networks(ticks: int) -> list[Network]:
    """Small networks with the operations that every tool has, and what parts them: reset, levels, start, decay, a residual."""
    from spikeloom.ir.hardware import Membrane

    def made(timesteps: int = ticks, *, levels: int = 1, start: bool = False, **membrane: Any) -> Any:
        def neurons(name: str, read: str, theta: int) -> Any:
            return _staircase(
                name, read, theta, levels, Membrane(np.array([theta // 2 if start else 0]), np.zeros((1, 1), int), **membrane)
            )

        return _chain(neurons, timesteps)

    decay = {"decay": np.array([3]), "decay_shift": 2}
    return [
        Network("conv-IF-sumpool-affine-IF, hard reset", made(reset="zero"), "zero"),
        Network("the same, soft reset", made(reset="subtract"), "subtract"),
        Network("the same, soft reset, v0 = θ/2", made(reset="subtract", start=True), "subtract"),
        Network("the same, soft reset, 15 levels", made(reset="subtract", levels=15), "subtract"),
        Network("the same, hard reset, residual", _residual(ticks), "zero"),
        Network("the same, one tick, v0 = θ/2", made(1, reset="zero", start=True), "zero"),
        Network("conv-LIF-sumpool-affine-LIF, hard reset, a = 3/4", made(reset="zero", **decay), "zero"),
    ]


def measured(network: Network, samples: int) -> list[Row]:
    """A row for each tool."""
    from spikeloom.simulate.integers import ticks

    netlist, wire = network.netlist, network.netlist.wires[network.netlist.source.name]
    shape = (netlist.timesteps, samples, *wire.shape)
    inputs = np.random.default_rng(0).integers(wire.low, wire.high + 1, shape)
    expected = np.stack([values[netlist.output] for values, _ in ticks(netlist, inputs)])
    rows = list[Row]()
    for name, run, promised in TOOLS:
        try:
            with torch.no_grad():
                found = run(network, torch.from_numpy(inputs.astype(np.float32)))
            value = _compared(found.reshape(*found.shape[:2], -1), expected.reshape(*expected.shape[:2], -1))
        except Exception as error:  # a tool refuses in its own way
            value = f"refuses: {type(error).__name__}: {' '.join(str(error).split())[:110]}"
        holds = value == "match" if network.name in promised else None
        target = "match" if network.name in promised else None
        rows.append(Row(f"{network.name} | {name}", value, f"spikes sent {int(expected.sum())}", COMMAND, target=target, holds=holds))
    return rows


def _compared(found: Any, expected: Any) -> str:
    if found.shape != expected.shape:  # norse, sinabs: nirtorch's executor goes depth first, and runs the last operand of a sum last
        return f"gives back another node ({found.shape[-1]} numbers, not {expected.shape[-1]})"
    wrong = int((found != expected).sum())
    return f"differs by {wrong} of {expected.size}" if wrong else "match"


def _staircase(name: str, read: str, theta: int, levels: int, membrane: Any) -> Any:
    from dataclasses import replace

    from spikeloom.ir.hardware import Population

    steps = np.arange(levels + 1)[None]
    return Population(name, (read,), theta * steps[:, 1:], steps, 0, replace(membrane, taken=theta * steps))


def _layers(rng: np.random.Generator) -> Any:
    from spikeloom.ir.hardware import Affine, Convolution, Pool, Route

    return (
        Convolution("conv", ("x",), rng.integers(-20, 24, (4, 1, 3, 3)), rng.integers(-9, 9, 4), padding=(1, 1)),
        Pool("pool", ("n1",), "sum", (2, 2), (2, 2)),
        Route("flat", ("pool",), (36,)),
        Affine("fc", ("flat",), rng.integers(-25, 27, (10, 36)), rng.integers(0, 20, 10)),
    )


def _chain(neurons: Callable[[str, str, int], Any], timesteps: int) -> Any:
    from spikeloom.ir.hardware import Source, Wire, netlist_of

    conv, pool, flat, fc = _layers(np.random.default_rng(7))
    operations = [conv, neurons("n1", "conv", 70), pool, flat, fc, neurons("n2", "fc", 90)]
    return netlist_of(Source("x", 1.0), Wire((1, 6, 6), 0, 3, True), operations, "n2", timesteps=timesteps)


def _residual(timesteps: int) -> Any:
    from spikeloom.ir.hardware import Add, Convolution, Membrane, Source, Wire, netlist_of

    rng = np.random.default_rng(7)
    conv, pool, flat, fc = _layers(rng)
    start = Membrane(np.zeros(1, int), np.zeros((1, 1), int), reset="zero")
    inner = Convolution("conv2", ("n0",), rng.integers(-20, 22, (4, 4, 3, 3)), rng.integers(-9, 9, 4), padding=(1, 1))
    meet = Add("meet", ("conv2", "n0"), (np.ones(1, int), rng.integers(20, 60, 4)))
    operations = [conv, _staircase("n0", "conv", 70, 1, start), inner, meet, _staircase("n1", "meet", 110, 1, start)]
    operations += [pool, flat, fc, _staircase("n2", "fc", 90, 1, start)]
    return netlist_of(Source("x", 1.0), Wire((1, 6, 6), 0, 3, True), operations, "n2", timesteps=timesteps)


def graph_for(network: Network, **spelling: Any) -> Any:
    """The graph as a file holds it: written, and read again."""
    import nir

    from spikeloom.backend.nir import NirOptions
    from spikeloom.backend.nir.writing import bytes_of, graph_of

    kept = io.BytesIO(bytes_of(graph_of(network.netlist, NirOptions(scales="layer", **spelling))))
    return nir.read(kept, type_check=not spelling.get("batch_axis"))


def stepped(net: Any, x: Any) -> Any:
    """Tools that take one tick and a state."""
    state, out = None, list[Any]()
    for now in x:
        y, state = net(now, state)
        out.append(y)
    return torch.stack(out).numpy()


def nirtorch_ours(network: Network, x: Any) -> Any:
    """nirtorch with our neurons, told by the metadata of each node; its maps of Affine, Conv2d and SumPool2d have bugs, so ours too."""
    import nir
    import nirtorch

    return stepped(nirtorch.nir_to_torch(graph_for(network, batch_axis=True), _maps(nir)), x)


def _maps(nir: Any) -> dict[Any, Callable[[Any], torch.nn.Module]]:
    def affine(node: Any) -> torch.nn.Module:
        layer = torch.nn.Linear(node.weight.shape[1], node.weight.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(node.weight), torch.tensor(node.bias)
        return layer

    def convolution(node: Any) -> torch.nn.Module:
        out, inner, *kernel = node.weight.shape
        told = [tuple(int(side) for side in part) for part in (kernel, node.stride, node.padding, node.dilation)]
        layer = torch.nn.Conv2d(inner * int(node.groups), out, *told, int(node.groups))
        layer.weight.data, layer.bias.data = torch.tensor(node.weight), torch.tensor(node.bias)
        return layer

    def pool(node: Any) -> torch.nn.Module:
        told = [tuple(int(side) for side in part) for part in (node.kernel_size, node.stride, node.padding)]
        return torch.nn.AvgPool2d(*told, divisor_override=1)

    return {nir.IF: Neurons, nir.LIF: Neurons, nir.Affine: affine, nir.Conv2d: convolution, nir.SumPool2d: pool}


class Neurons(torch.nn.Module):
    """A node of ours for nirtorch: whole numbers in float64."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.told = node.metadata

    def row(self, values: Any, x: Any) -> Any:
        """Numbers of each channel, broadcast over [B, ...]."""
        laid = torch.as_tensor(np.asarray(values, np.float64))
        return laid.reshape([-1 if place == int(self.told["axis"]) else 1 for place in range(x.ndim - 1)])

    def forward(self, x: Any, state: Any = None) -> Any:
        """(spikes, membrane) of one tick."""
        told, x = self.told, x.double()
        v = torch.zeros_like(x) + self.row(told["initial_potential"], x) if state is None else state
        h = torch.floor(self.row(told["decay"], x) * v / 2.0 ** int(told["decay_shift"])) + x - self.row(told["leak"], x)
        crossed = sum((h >= self.row(told["thresholds"][:, level], x)).double() for level in range(told["thresholds"].shape[1]))
        taken = crossed * self.row(told["taken"][:, 1], x)
        v = h - taken if told["reset"] == "subtract" else torch.where(crossed > 0, torch.zeros_like(h), h)
        return crossed.float(), v


def norse_reads(network: Network, x: Any) -> Any:
    """norse: IF resets hard whatever is asked; CubaLIF by subtraction too."""
    import norse.torch as norse
    from norse.torch.functional.reset import reset_subtract, reset_value

    soft = network.reset == "subtract"
    graph = graph_for(network, batch_axis=True, integrator="cubalif" if soft else "if")
    return stepped(norse.from_nir(graph, reset_method=reset_subtract if soft else reset_value, dt=1.0, ignore_warnings=True), x)


def sinabs_single(network: Network, x: Any) -> Any:
    """sinabs, one spike at most, with the reset of the network."""
    import sinabs.activation as activation
    import sinabs.layers as layers

    reset = activation.MembraneSubtract() if network.reset == "subtract" else activation.MembraneReset()

    def told(layer: Any) -> None:
        layer.spike_fn, layer.reset_fn, layer.min_v_mem = activation.SingleSpike, reset, None

    return _sinabs(network, x, lambda layer: told(layer) if isinstance(layer, layers.StatefulLayer) else None)


def sinabs_multi(network: Network, x: Any) -> Any:
    """sinabs as it comes, ⌊v/θ⌋ spikes and reset by subtraction; without its lower limit of the membrane."""
    import sinabs.layers as layers

    def told(layer: Any) -> None:
        layer.min_v_mem = None

    return _sinabs(network, x, lambda layer: told(layer) if isinstance(layer, layers.StatefulLayer) else None)


def _sinabs(network: Network, x: Any, told: Callable[[Any], None]) -> Any:
    import sinabs.nir

    net = sinabs.nir.from_nir(graph_for(network), batch_size=x.shape[1])
    for layer in net.modules():
        told(layer)
    y = net(x.transpose(0, 1).reshape(-1, *x.shape[2:]))
    y = y[0] if isinstance(y, tuple) else y
    return y.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1).numpy()


def spikingjelly_reads(network: Network, x: Any) -> Any:
    """spikingjelly: soft reset by its own switch, v_reset = None."""
    from spikingjelly.activation_based import neuron
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    net = import_from_nir(graph_for(network), dt=1.0)
    for layer in net.modules():
        if network.reset == "subtract" and isinstance(layer, neuron.BaseNode):
            layer.v_reset = None
    return stepped(net, x)


def snntorch_reads(network: Network, x: Any) -> Any:
    """snntorch: its tick is 1e-4 whatever is said, and its IF decays; LIF it reads."""
    from snntorch.import_nir import import_from_nir

    return stepped(import_from_nir(graph_for(network, dt=1e-4, integrator="lif", batch_axis=True)), x)


CHAIN = "conv-IF-sumpool-affine-IF, hard reset"
SAME = tuple(f"the same, {what}" for what in ("soft reset", "soft reset, v0 = θ/2", "soft reset, 15 levels", "hard reset, residual"))
ONE = "the same, one tick, v0 = θ/2"
TOOLS: list[tuple[str, Callable[[Network, Any], Any], tuple[str, ...]]] = [
    ("nirtorch 2.6, our neurons", nirtorch_ours, (CHAIN, *SAME, ONE, "conv-LIF-sumpool-affine-LIF, hard reset, a = 3/4")),
    ("norse 1.1.0", norse_reads, (CHAIN, SAME[0], ONE)),
    ("sinabs 3.1.3, one spike", sinabs_single, (CHAIN, SAME[0], ONE)),
    ("sinabs 3.1.3, many spikes (default)", sinabs_multi, (SAME[2],)),
    ("spikingjelly 2.0.0", spikingjelly_reads, (CHAIN, SAME[0], SAME[3], ONE)),
    ("snntorch 1.0.0", snntorch_reads, (CHAIN, SAME[3], ONE)),
]


if __name__ == "__main__":
    raise SystemExit(main())
