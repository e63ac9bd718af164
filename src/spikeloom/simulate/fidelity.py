"""
Fidelity: how close each population's mean output is to the ANN's activation it stands for, and which one hurts most.

    SQNR = 10·log10( Σ a² / Σ (a − ō)² ) dB,   cosine = Σ a·ō / √(Σ a² · Σ ō²)               (1)

a is the ANN's value, ō the mean of the spikes over T; masked scores are left out. Sums stream over batches. A population's own share
of the error is what its error, as a share of its signal, exceeds that of the populations that feed it by: the one that adds most hurts
most.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import OPERATIONS, Program, calls, note
from spikeloom.simulate.events import either, level_of
from spikeloom.simulate.execute import decoded, executable, repeated

MASKED = -1e9
"""Below it the ANN's value is a masked score, which no neuron stands for and no sum has room for."""
PERFECT_DB = 200.0
"""The ratio of a population without any error: a number, so that it can be compared and written as JSON."""


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


def counterparts(program: Program, ann: Program) -> dict[str, str]:
    """For each population, by name, the ANN's value that it stands for, where the ANN has it.

    In an ANN that is not fused yet, a layer's counterpart is what stands behind the batch norms that were folded into it;
    an activation that was moved before its max-pool has none.
    """
    fused = next((record.numbers for record in program.records if record.name == "Fuse"), {})
    moved = () if any(record.name == "Fuse" for record in ann.records) else fused.get("moved", ())
    values, found = {node.name: node for node in ann.graph.nodes}, dict[str, str]()
    for node in populations(program):
        value = values.get(note(node).get("source", ""))
        while value is not None and len(value.users) == 1 and next(iter(value.users)).name in fused.get("folded", ()):
            value = next(iter(value.users))
        if value is not None and value.name not in moved and value.meta.get("spec") == node.meta.get("spec"):
            found[node.name] = value.name
    return found


def fidelity(program: Program, ann: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int) -> tuple[Fidelity, ...]:
    """One row per population that the ANN, fused or as captured, has a counterpart of, over all batches of inputs [B, …]."""
    stand_for = counterparts(program, ann)
    nodes = [node for node in populations(program) if node.name in stand_for]
    spiking, exact = Recorder(executable(program, timesteps), stand_for), Recorder(ann.module(), stand_for.values())
    sums: dict[str, dict[str, Any]] = {node.name: {} for node in nodes}
    with torch.no_grad():
        for inputs in batches:
            spiking.run(*(repeated(value, timesteps) for value in inputs))
            exact.run(*inputs)
            for node in nodes:
                _add(sums[node.name], node, program, exact.kept[stand_for[node.name]], spiking.kept[node.name], timesteps)
    ratios = {name: _sqnr_db(total) for name, total in sums.items()}
    return tuple(_row(node, sums[node.name], ratios) for node in nodes)


def _add(sums: dict[str, Any], node: fx.Node, program: Program, a: Tensor, spikes: Tensor, timesteps: int) -> None:
    o, (level, top) = decoded(spikes, timesteps), level_of(node, program, spikes)
    fired, seen = (level != 0).any(0), a > MASKED
    a, o = a[seen], o[seen]
    numbers = {"aa": a.square().sum(), "oo": o.square().sum(), "ao": (a * o).sum(), "error": (a - o).square().sum()}
    numbers |= {"events": (level != 0).sum(), "top": (level.abs() >= top).sum(), "count": torch.tensor(level.numel())}
    for key, number in numbers.items():
        sums[key] = sums.get(key, 0.0) + float(number)
    sums["fired"] = either(fired, sums["fired"]) if "fired" in sums else fired


def _sqnr_db(sums: Mapping[str, Any]) -> float:
    if sums["error"] == 0.0:
        return PERFECT_DB
    return min(10.0 * math.log10(max(sums["aa"], 1e-30) / sums["error"]), PERFECT_DB)


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
    """The population that hurts most: it adds the most error, as a share of its signal, to that of what feeds it."""
    return max(rows, key=lambda row: 10.0 ** (-row.sqnr_db / 10.0) - 10.0 ** (-(row.sqnr_db + row.drop_db) / 10.0), default=None)
