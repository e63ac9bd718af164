"""
Fidelity: how close each population's mean output is to the ANN's activation it stands for, and which one hurts most.

    SQNR = 10·log10( Σ a² / Σ (a − ō)² ) dB,   cosine = Σ a·ō / √(Σ a² · Σ ō²)               (1)

a is the ANN's value, ō the mean of the spikes over T. Sums stream over batches. A population's own share of the error
is its SQNR against what reaches it: the one with the largest drop from the populations that feed it hurts most.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import OPERATIONS, Program, calls, note
from spikeloom.simulate.events import level_of
from spikeloom.simulate.execute import decoded, executable, repeated


@final
@dataclass(frozen=True)
class Fidelity:
    """One population: signal-to-error ratio and cosine against the ANN (1), firing rate, saturation, and the shares of
    neurons that never fired; `drop_db` is the SQNR it loses against the worst population that feeds it."""

    node: str
    source: str
    function: str
    sqnr_db: float
    cosine: float
    firing_rate: float
    saturation: float
    silent: float
    drop_db: float


@final
class Recorder(fx.Interpreter):
    """Runs a graph and keeps the values of some nodes."""

    def __init__(self, module: fx.GraphModule, wanted: Iterable[str]) -> None:
        super().__init__(module)
        self.wanted, self.kept = set(wanted), dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.wanted:
            self.kept[n.name] = value
        return value


def populations(program: Program) -> list[fx.Node]:
    """A program's populations in execution order."""
    return [node for node in calls(program.graph) if node.target in OPERATIONS.values()]


def fidelity(program: Program, ann: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int) -> tuple[Fidelity, ...]:
    """One row per population whose source the ANN has in the same shape, over all batches of inputs [B, …].

    Give the fused ANN: in an unfused one, an activation may still stand behind its max-pool.
    """
    specs = {node.name: node.meta.get("spec") for node in ann.graph.nodes}
    nodes = [node for node in populations(program) if specs.get(note(node).get("source"), ()) == node.meta.get("spec")]
    spiking = Recorder(executable(program, timesteps), [node.name for node in nodes])
    exact = Recorder(ann.module(), [note(node)["source"] for node in nodes])
    sums: dict[str, dict[str, Any]] = {node.name: {} for node in nodes}
    with torch.no_grad():
        for inputs in batches:
            spiking.run(*(repeated(value, timesteps) for value in inputs))
            exact.run(*inputs)
            for node in nodes:
                _add(sums[node.name], node, program, exact.kept[note(node)["source"]], spiking.kept[node.name], timesteps)
    ratios = {name: _sqnr_db(total) for name, total in sums.items()}
    return tuple(_row(node, sums[node.name], ratios) for node in nodes)


def _add(sums: dict[str, Any], node: fx.Node, program: Program, a: Tensor, spikes: Tensor, timesteps: int) -> None:
    o, (level, top) = decoded(spikes, timesteps), level_of(node, program, spikes)
    fired = (level != 0).any(0)
    numbers = {"aa": a.square().sum(), "oo": o.square().sum(), "ao": (a * o).sum(), "error": (a - o).square().sum()}
    numbers |= {"events": (level != 0).sum(), "top": (level.abs() >= top).sum(), "count": torch.tensor(level.numel())}
    for key, number in numbers.items():
        sums[key] = sums.get(key, 0.0) + float(number)
    sums["fired"] = fired | sums["fired"] if "fired" in sums else fired


def _sqnr_db(sums: Mapping[str, Any]) -> float:
    if sums["error"] == 0.0:
        return math.inf
    return 10.0 * math.log10(max(sums["aa"], 1e-30) / sums["error"])


def _row(node: fx.Node, sums: Mapping[str, Any], ratios: Mapping[str, float]) -> Fidelity:
    fed = [ratios[name] for name in feeders(node) if name in ratios]
    return Fidelity(
        node=node.name,
        source=str(note(node)["source"]),
        function=str(node.kwargs.get("function")),
        sqnr_db=ratios[node.name],
        cosine=sums["ao"] / math.sqrt(max(sums["aa"] * sums["oo"], 1e-30)),
        firing_rate=sums["events"] / sums["count"],
        saturation=sums["top"] / sums["count"],
        silent=float((~sums["fired"]).float().mean()),
        drop_db=(min(fed) if fed else 60.0) - ratios[node.name],
    )


def feeders(node: fx.Node) -> set[str]:
    """The populations whose spikes reach this one without another in between."""
    found, open_nodes = set[str](), list(node.all_input_nodes)
    seen: set[fx.Node] = set()
    while open_nodes:
        operand = open_nodes.pop()
        if operand in seen:
            continue
        seen.add(operand)
        if operand.target in OPERATIONS.values():
            found.add(operand.name)
        else:
            open_nodes.extend(operand.all_input_nodes)
    return found


def worst(rows: Iterable[Fidelity]) -> Fidelity | None:
    """The population that hurts most: the largest drop in SQNR against what feeds it."""
    return max(rows, key=lambda row: row.drop_db, default=None)
