"""
Prices: what one event of each population costs, so that a search knows energy from spikes alone.

    energy ≈ fixed + Σ populations events · price,    price = (synaptic operations its events cause · p_op + their transport) / events   (1)

Both are measured once, by the counter and the price list of `simulate`, on the program as given, at which (1) is exact on those samples;
elsewhere it takes a population's fan-out to be what it was there. Products of spikes are shared between the populations that meet.

Source: DESIGN.md §5; `simulate.energy` (Horowitz, ISSCC 2014).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, calls
from spikeloom.neuron import graded_bits
from spikeloom.simulate import ENCODINGS, Counter, energy, populations
from spikeloom.simulate.energy import PRICE_PJ, memory_pj
from spikeloom.simulate.events import Counts, LayerCount
from spikeloom.simulate.fidelity import feeders

SAMPLES = 16
"""How many samples prices are measured on."""


@final
@dataclass(frozen=True)
class Prices:
    """(1): `fixed_pj` per inference, and `event_pj` by population; `start_pj` is what an inference of the program as given takes."""

    encoding: str
    start_pj: float
    fixed_pj: float
    event_pj: Mapping[str, float]

    def energy_pj(self, events: Mapping[str, float]) -> float:
        """The energy of an inference with so many events of each population."""
        return self.fixed_pj + sum(count * self.event_pj.get(name, 0.0) for name, count in events.items())


def priced(program: Program, timesteps: int, batches: Iterable[tuple[Tensor, ...]], encoding: str) -> Prices:
    """The prices of a program's events, from a run on these batches, at most `SAMPLES` samples of them."""
    counter, left = Counter(program, timesteps), SAMPLES
    for inputs in batches:
        counter.add(tuple(value[:left] for value in inputs))
        left -= len(inputs[0])
        if left <= 0:
            break
    counts = counter.counts()
    total = next(row.total_pj for row in energy(counts) if row.network == f"SNN ({encoding})")
    costs = _costs(program, counts, encoding)
    events = {row.node: row.events[encoding] for row in counts.rows if row.node in costs}
    prices = {name: cost / events[name] for name, cost in costs.items() if events[name] > 0}
    return Prices(encoding, total, total - sum(costs[name] for name in prices), prices)


def _costs(program: Program, counts: Counts, encoding: str) -> dict[str, float]:
    """What the events of each population cost per inference: transport, and the operations they cause where they arrive."""
    rows = {row.node: row for row in counts.rows}
    found = {node.name: _transport_pj(rows[node.name], encoding) for node in populations(program) if node.name in rows}
    synapse = PRICE_PJ["fp32 multiply-accumulate" if encoding == "graded" else "fp32 addition"]
    for node in calls(program.graph):
        caused = rows[node.name].operations.get(encoding, 0.0) if node.name in rows else 0.0
        sources = {name: rows[name].events[encoding] for name in feeders(node) if name in found} if caused else {}
        sent = sum(sources.values())
        for name, events in sources.items():
            found[name] += caused * synapse * events / sent if sent else 0.0
    return found


def _transport_pj(row: LayerCount, encoding: str) -> float:
    """What `simulate.energy` takes for writing and reading a population's events."""
    payload = graded_bits(max(row.levels, 1), max(row.levels, 1)) if encoding == "graded" else 1
    address = math.ceil(math.log2(max(row.neurons, 2)))
    return memory_pj(row.events.get(encoding, 0.0) * 2 * (payload + address), row.neurons * payload / 8)


def check_encoding(encoding: str) -> None:
    """Raises ConfigError for an encoding of levels that is none."""
    if encoding not in ENCODINGS:
        raise ConfigError("unknown encoding of levels", found=encoding, allowed=", ".join(ENCODINGS))
