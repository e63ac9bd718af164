"""
The bench: everything an evaluation needs, in one folder that every worker reads, and the evaluation itself.

    program/             the network, as saved by `ir`
    data.safetensors     samples, targets, and the ANN's mean activations
    bench.json           T, limits, objective, prices
    base-<digest>/       the values alive at the cuts of one candidate, from which those that alter later populations go on

An evaluation is a function of the folder and the genes alone, on one thread: the same number on whatever machine part it runs.
"""

import json
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from spikeloom.evolve.cuts import MOST, Cuts, Writer, stamp
from spikeloom.evolve.limits import Limits
from spikeloom.evolve.network import Network, Values, Watch, unwatched
from spikeloom.evolve.objective import Outcome, hits, losses
from spikeloom.evolve.prices import Prices
from spikeloom.evolve.space import Genes, Site, Space
from spikeloom.ir import load, read
from spikeloom.neuron import Encoding, along
from spikeloom.neuron import events as encoded
from spikeloom.simulate import level_of

HALF = 6e4
"""What half precision holds: activations are kept in it, and what lies beyond is a masked score."""
Told = tuple[float, float, float, float, tuple[float, ...]]
"""An outcome as plain numbers: what workers send back."""


@contextmanager
def one_thread() -> Generator[None]:
    """Torch computes on one thread inside: sums come out the same wherever an evaluation runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@final
class Bench:
    """The bench of a folder, in memory. Its numbers depend on the folder's content alone."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "bench.json").read_text())
        self.folder, self.timesteps, self.objective = folder, int(told["timesteps"]), str(told["objective"])
        self.match = float(told.get("match", 0.0))
        self.variance = float(told["variance"])
        self.limits, self.prices = Limits(**told["limits"]), Prices(**told["prices"])
        self.program = load(folder / "program")
        self.space = Space(self.program, self.timesteps, self.limits, int(told["groups"]), told["parameters"])
        self.network = Network(self.program, self.timesteps)
        self.sites = {site.node: site for site in self.space.sites}
        data = {name: tensor.clone() for name, tensor in load_file(folder / "data.safetensors").items()}
        self.chunks, self.targets = _chunks(data), [data[f"target.{place}"] for place in range(_count(data))]
        self.activations = [_activations(data, place) for place in range(len(self.chunks))]
        self.means = {name[4:]: tensor for name, tensor in data.items() if name.startswith("ann.")}
        self.samples = sum(len(target) for target in self.targets)
        self.start_pj = self.prices.start_pj

    def tensors(self, genes: Genes) -> dict[str, Tensor]:
        """The tensors of these genes."""
        with torch.no_grad():
            return self.space.decode(torch.from_numpy(np.asarray(genes, dtype=np.float64)))

    def outcome(self, genes: Genes, cuts: Cuts | None = None) -> Outcome:
        """What these genes give; where they share their first populations with the base of `cuts`, from there on."""
        changed = None if cuts is None else self.space.first_changed(genes, cuts.genes)
        place = None if cuts is None else cuts.before(self._place_of(changed))
        tensors, tally = self.tensors(genes), Tally(self)
        if place is not None and cuts is not None:
            tally.before(cuts.events(place))
        self.over(tensors, tally, cuts if place is not None else None, place)
        return tally.outcome()

    def _place_of(self, site: int | None) -> int:
        return self.network.place["output"] if site is None else self.network.place[self.space.sites[site].node]

    def base(self, genes: Genes, watch: Watch) -> tuple[Outcome, str]:
        """What these genes give, shown to `watch`, and the name of the base that their values at the cuts are kept under."""
        tally, writer = Tally(self), Writer(self.folder, genes, self._cuts())
        self.over(self.tensors(genes), tally, None, None, watch, lambda chunk: lambda at, values: writer.keep(at, chunk, values))
        for place in writer.alive:
            before = [name for name in tally.events if self.network.place[name] < place]
            writer.events[str(place)] = {name: [tally.events[name], tally.slots[name]] for name in before}
        return tally.outcome(), writer.done()

    def _cuts(self) -> dict[int, list[str]]:
        """Places before populations, evenly through the network, and what is alive there."""
        places = [self.network.place[site.node] for site in self.space.sites[1:]]
        kept = places[:: max(1, -(-len(places) // MOST))]
        return {place: self.network.alive(place) for place in kept}

    def over(
        self,
        tensors: Mapping[str, Tensor],
        tally: "Tally",
        cuts: Cuts | None,
        place: int | None,
        watch: Watch = unwatched,
        cut_of: Callable[[int], Callable[[int, Values], None] | None] = lambda chunk: None,
    ) -> None:
        """Every chunk through the network with these tensors, into the tally."""
        fires = self.network.fires(tensors)
        tally.use(tensors)

        def seen(name: str, driving: Sequence[Tensor], sent: Tensor) -> None:
            tally.sent(name, sent)
            watch(name, driving, sent)

        with torch.no_grad(), one_thread():
            for number, (inputs, target) in enumerate(zip(self.chunks, self.targets, strict=True)):
                kept = cuts.values(place, number) if cuts is not None and place is not None else None
                outputs = self.network.run(inputs, fires, seen, begin=place or 0, kept=kept, cut=cut_of(number))
                tally.answered(outputs, target)


@final
class Tally:
    """What an evaluation adds up: divergence, answers, and the events of every population."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.losses, self.hit = bench, list[float](), 0.0
        self.events, self.slots, self.program = dict[str, float](), dict[str, float](), bench.program

    def use(self, tensors: Mapping[str, Tensor]) -> None:
        """The tensors that levels are read by."""
        self.program = self.bench.program.replaced(tensors={**self.bench.program.tensors, **tensors})

    def before(self, events: Mapping[str, Sequence[float]]) -> None:
        """What the populations before a cut sent, and in how many neuron-steps."""
        for name, (count, slots) in events.items():
            self.events[name], self.slots[name] = count, slots

    def sent(self, name: str, sent: Tensor) -> None:
        """What a population sent on one chunk."""
        self.events[name] = self.events.get(name, 0.0) + self._events(name, sent)
        self.slots[name] = self.slots.get(name, 0.0) + sent.numel()

    def _events(self, name: str, sent: Tensor) -> float:
        node, encoding = self.bench.network.populations[name], self.bench.prices.encoding
        if encoding == "graded":
            return float(fired(sent, self.program.tensors, self.bench.sites.get(name)).sum())
        return float(encoded(level_of(node, self.program, sent)[0], cast(Encoding, encoding)).sum())

    def answered(self, outputs: Tensor, target: Tensor) -> None:
        """The answers of one chunk."""
        self.losses += losses(self.bench.objective, outputs, target).double().tolist()
        self.hit += float(hits(self.bench.objective, outputs, target).double().sum())

    def outcome(self) -> Outcome:
        """Means over all samples."""
        bench, n = self.bench, self.bench.samples
        scale = bench.variance if bench.objective == "mse" else 1.0
        accuracy = 1.0 + self.hit / n / scale if bench.objective == "mse" else self.hit / n
        energy = bench.prices.energy_pj({name: count / n for name, count in self.events.items()})
        violation = bench.limits.violation(self.rates().values()) if bench.limits.bounds_rates else 0.0
        each = tuple(loss / scale for loss in self.losses)
        return Outcome(math.fsum(each) / n, accuracy, energy, violation, each)

    def rates(self) -> dict[str, float]:
        """The share of neuron-steps with an event, by population."""
        return {name: self.events[name] / max(self.slots[name], 1.0) for name in self.events}


def fired(sent: Tensor, tensors: Mapping[str, Tensor], site: Site | None) -> Tensor:
    """Where a population sends an event: anything but silence, which in a table is the height nearest to 0."""
    if site is None or not site.table:
        return sent != 0
    values = read(tensors[site.tensors["values"]])
    silent = values.gather(-1, values.abs().argmin(-1, keepdim=True))[..., 0]
    return sent != along(silent, site.options["axis"], sent)


def mismatch(sent: Float[Tensor, "*any"], exact: Float[Tensor, "*any"]) -> Float[Tensor, ""]:
    """The squared error of a population's mean outputs as a share of the ANN's squared activations; masked scores are left out."""
    a = exact.float()
    seen = a > -HALF
    return torch.where(seen, sent - a, 0.0).square().sum() / torch.where(seen, a, 0.0).square().sum().clamp_min(1e-12)


def _count(data: Mapping[str, Tensor]) -> int:
    return sum(name.startswith("target.") for name in data)


def _chunks(data: Mapping[str, Tensor]) -> list[tuple[Tensor, ...]]:
    inputs = sorted((int(name.split(".")[1]), int(name.split(".")[2]), name) for name in data if name.startswith("input."))
    return [tuple(data[name] for chunk, _, name in inputs if chunk == place) for place in range(_count(data))]


def _activations(data: Mapping[str, Tensor], chunk: int) -> dict[str, Tensor]:
    """The ANN's activations on a chunk, by population, in half precision."""
    before = f"act.{chunk}."
    return {name.removeprefix(before): tensor for name, tensor in data.items() if name.startswith(before)}


def opened(folder: str) -> Bench:
    """The bench of a folder; a worker keeps the last it was asked for, as long as it is the one that lies there."""
    return _opened(folder, stamp(Path(folder) / "data.safetensors"))


@lru_cache(maxsize=2)
def _opened(folder: str, written: tuple[int, int]) -> Bench:
    return Bench(Path(folder))


def evaluated(folder: str, genes: Sequence[float], base: str | None) -> Told:
    """What these genes give on a folder's bench, going on from a base where one is named: the one function that workers run."""
    bench = opened(folder)
    cuts = None if base is None else Cuts.opened(Path(folder) / base)
    outcome = bench.outcome(np.asarray(genes, dtype=np.float64), cuts)
    return outcome.divergence, outcome.accuracy, outcome.energy_pj, outcome.violation, outcome.losses


def settings_of(bench: Mapping[str, Any]) -> str:
    """bench.json for these facts."""
    return json.dumps({key: asdict(value) if isinstance(value, Limits | Prices) else value for key, value in bench.items()}, indent=1)
