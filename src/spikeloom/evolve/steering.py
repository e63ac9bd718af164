"""
Steering by spike statistics: what the populations of one network do, against the ANN, and the mutations that this suggests.

    deficit   d = (E[a] − E[o]) / step        a the ANN's activation, o the mean output: of a group of channels, in steps     (1)
    initial   + T·d,  or leak − d             what lacks is put in at the start, or at every step                             (2)
    threshold + where more than `FULL` of the neuron-steps are at the top level, − where nearly all are silent                (3)

A steered mutation alters the populations of a window, drawn where the mismatch is greatest, by a random part of (2) and (3) and some
noise. What stands before the window is the base's: it is not run again (`cuts`).

Sources: mismatched rates as the error of conversion, Rueckauer et al. 2017; saturated and silent neurons, Bu et al. 2022, arXiv:2202.01440.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.evolve.bench import Bench, fired
from spikeloom.evolve.objective import Outcome
from spikeloom.evolve.space import SCALES, Genes, Site, group_of, mean_distance
from spikeloom.ir import read
from spikeloom.neuron import by_channel

FULL, SILENT = 0.02, 0.995
MOST_STEERED = 3.0
"""The most units that statistics move a gene by."""


@final
@dataclass(frozen=True)
class Heard:
    """What one population did, by group of channels: (1), and the shares of neuron-steps at the top level and without an event."""

    deficit: Float[np.ndarray, " g"]
    saturated: Float[np.ndarray, " g"]
    silent: Float[np.ndarray, " g"]

    @property
    def mismatch(self) -> float:
        """How far it is off, in steps: its mean size of (1)."""
        return float(np.abs(self.deficit).mean())


def listened(bench: Bench, genes: Genes) -> tuple[Outcome, str, dict[str, Heard]]:
    """What these genes give, the name of the base their cuts are kept under, and what every population did."""
    tensors, sums = {**bench.program.tensors, **bench.tensors(genes)}, dict[str, list[Tensor]]()

    def watch(name: str, driving: Sequence[Tensor], sent: Tensor) -> None:
        if (site := bench.sites.get(name)) is None:
            return
        parts = (sent, at_top(sent, tensors, site), ~fired(sent, tensors, site))
        found = [by_channel(part.double(), site.options["axis"]).mean(1) for part in parts]
        sums[name] = [a + b for a, b in zip(sums[name], found, strict=True)] if name in sums else found

    outcome, base = bench.base(genes, watch)
    return outcome, base, {name: _heard(bench, bench.sites[name], tensors, total) for name, total in sums.items()}


def at_top(sent: Tensor, tensors: Mapping[str, Tensor], site: Site) -> Tensor:
    """Where what a population sent is its highest level; of a table its highest or lowest height."""
    if site.table:
        values = read(tensors[site.tensors["values"]])
        return (sent >= values.max()) | (sent <= values.min())
    step = read(tensors[site.tensors["step"]]).min()
    return sent.abs() >= (site.levels - 0.5) * step


def _heard(bench: Bench, site: Site, tensors: Mapping[str, Tensor], total: Sequence[Tensor]) -> Heard:
    mean, top, silent = (part / len(bench.chunks) for part in total)
    ann = bench.means.get(site.node)
    lacking = torch.zeros_like(mean) if ann is None else (ann - mean) / _unit(site, tensors)
    return Heard(*(grouped(site, part) for part in (lacking, top, silent)))


def _unit(site: Site, tensors: Mapping[str, Tensor]) -> Tensor:
    """The height of one level."""
    if not site.table:
        return read(tensors[site.tensors["step"]]).double()
    return mean_distance(read(tensors[site.tensors["values"]]).double().sort(-1).values)


def grouped(site: Site, by_channel_: Tensor) -> Float[np.ndarray, " g"]:
    """The mean of each group of channels."""
    groups = max(part.stop - part.start for part in site.genes.values())
    place = group_of(len(by_channel_), groups)
    total = torch.zeros(groups, dtype=torch.float64).index_add_(0, place, by_channel_.double())
    return (total / torch.bincount(place, minlength=groups).clamp_min(1)).numpy()


def correction(bench: Bench, heard: Mapping[str, Heard], leaking: bool) -> Genes:
    """(2) and (3) for every population, in units of the genes; with `leaking` what lacks is put in by leaks, where they are searched."""
    found = np.zeros(bench.space.size)
    for site in bench.space.sites:
        told = heard.get(site.node)
        if told is None:
            continue
        if leaking and "leak" in site.genes:
            found[site.genes["leak"]] = -told.deficit / SCALES["leak"]
        elif "initial" in site.genes:
            found[site.genes["initial"]] = bench.timesteps * told.deficit / SCALES["initial"]
        if "threshold" in site.genes:
            found[site.genes["threshold"]] = np.where(told.saturated > FULL, 0.5, 0.0) - np.where(told.silent > SILENT, 0.5, 0.0)
    return found.clip(-MOST_STEERED, MOST_STEERED)


def steered(bench: Bench, genes: Genes, heard: Mapping[str, Heard], noise: float, generator: np.random.Generator) -> Genes:
    """One steered mutation of the base."""
    sites = bench.space.sites
    weights = np.array([heard[site.node].mismatch if site.node in heard else 0.0 for site in sites]) + 1e-3
    first = int(generator.choice(len(sites), p=weights / weights.sum()))
    last = min(first + 1 + int(generator.integers(0, max(len(sites) // 4, 1))), len(sites))
    window = slice(sites[first].span.start, sites[last - 1].span.stop)
    moved = np.array(genes)
    wanted = correction(bench, heard, bool(generator.integers(0, 2)))[window] * generator.uniform(0.0, 1.0)
    moved[window] += wanted + noise * generator.standard_normal(window.stop - window.start)
    return np.clip(moved, bench.space.bounds[:, 0], bench.space.bounds[:, 1])
