"""
Polishing: gradient steps on the genes themselves, by surrogate gradients through the spikes.

    g ← g − η·m̂/(√v̂ + ε)           Adam on the objective over all samples, inside the bounds                             (1)

Thresholds, potentials, decays and leaks get the gradients of the neuron law (straight through, LSQ: `neuron.uniform`). A table is
constant in its thresholds almost everywhere; what moves them moves the input the other way, so its genes get the slope of the table:

    θ' = θ·c − s   fires as θ at (x + s)/c:      ∂o/∂s = o'(x),   ∂o/∂ln c = −o'(x)·(x + s)                                (2)

Descended is the divergence, and beside it the mismatch of the spikes with the ANN's activations, of which every sample has thousands
where it has one answer: a gradient from few samples holds for others too.

    μ · mean over populations of Σ (a − ō)² / Σ a²         μ so that at the start both weigh the same                      (3)

Energy and rates have surrogates too: a level passes its gradient where it is 0 or 1. One step costs a pass forth and back through all
samples; a search counts it as three evaluations.

Sources: straight-through, Bengio et al. 2013, arXiv:1308.3432; LSQ, Esser et al. 2020, arXiv:1902.08153; Adam, Kingma & Ba 2015,
arXiv:1412.6980; surrogate gradients, Neftci et al. 2019, arXiv:1901.09948.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.evolve.bench import Bench, mismatch, one_thread, opened
from spikeloom.evolve.network import Fire
from spikeloom.evolve.objective import losses
from spikeloom.evolve.space import Genes, Site
from spikeloom.ir import kwargs_of, read
from spikeloom.neuron import along, run_table, run_uniform
from spikeloom.simulate import decoded

COST = 3
"""Evaluations that one gradient step counts for."""
BETA1, BETA2, EPSILON = 0.8, 0.95, 1e-8
PENALTY = 10.0
"""What a population's rate outside of the band costs, per unit."""


@final
@dataclass(frozen=True)
class Adam:
    """(1)'s memory: means of the gradient and of its square, and how many steps there were."""

    first: Genes
    second: Genes
    steps: int = 0

    @staticmethod
    def fresh(size: int) -> "Adam":
        """Before the first step."""
        return Adam(np.zeros(size), np.zeros(size))

    def stepped(self, genes: Genes, gradient: Genes, rate: float, bounds: Float[np.ndarray, "d 2"]) -> tuple[Genes, "Adam"]:
        """(1): the genes after one step, inside the bounds, and the memory after it."""
        first = BETA1 * self.first + (1 - BETA1) * gradient
        second = BETA2 * self.second + (1 - BETA2) * gradient**2
        steps = self.steps + 1
        change = rate * (first / (1 - BETA1**steps)) / (np.sqrt(second / (1 - BETA2**steps)) + EPSILON)
        return np.clip(genes - change, bounds[:, 0], bounds[:, 1]), Adam(first, second, steps)


def share_of(folder: str, genes: Sequence[float], weight: float, chunk: int) -> list[float]:
    """One chunk's share of the gradient at these genes, on the bench of a folder: what workers run."""
    bench = opened(folder)
    leaf = torch.tensor(genes, dtype=torch.float64).requires_grad_()
    with torch.enable_grad(), one_thread():
        _loss(bench, leaf, chunk, weight).backward()
    return [0.0] * len(genes) if leaf.grad is None else torch.nan_to_num(leaf.grad, 0.0, 0.0, 0.0).tolist()


def added(shares: Sequence[Sequence[float]]) -> Genes:
    """The gradient of all chunks."""
    return np.sum(np.array(shares, dtype=np.float64), axis=0)


def gradient_of(bench: Bench, genes: Genes, weight: float) -> Genes:
    """The surrogate gradient of the value, and of the mismatch beside it, at these genes."""
    return added([share_of(str(bench.folder), genes.tolist(), weight, chunk) for chunk in range(len(bench.chunks))])


def _loss(bench: Bench, genes: Tensor, chunk: int, weight: float) -> Tensor:
    """One chunk's share of what is descended: the divergence, what its spikes cost, and the mismatch of all populations."""
    inputs, target, exact = bench.chunks[chunk], bench.targets[chunk], bench.activations[chunk]
    tensors = bench.space.decode(genes)
    fires = {name: _fire(bench, name, tensors, genes) for name in bench.network.populations}
    heard, spending = [torch.zeros(())], bool(weight) or bench.limits.bounds_rates

    def watch(name: str, driving: Sequence[Tensor], sent: Tensor) -> None:
        site = bench.sites.get(name)
        if name in exact:
            heard.append(bench.match / len(exact) * mismatch(decoded(sent, bench.timesteps), exact[name]))
        if spending and site is not None:
            heard.append(_spent(bench, site, sent, tensors, weight))

    outputs = bench.network.run(inputs, fires, watch)
    loss = losses(bench.objective, outputs, target).mean()
    loss = loss / bench.variance if bench.objective == "mse" else loss
    return len(inputs[0]) / bench.samples * (loss + torch.stack(heard).sum())


def _fire(bench: Bench, name: str, tensors: Mapping[str, Tensor], genes: Tensor) -> Fire:
    node, site, steps = bench.network.populations[name], bench.sites.get(name), bench.timesteps
    if site is None:
        return bench.network.own[name]
    if site.table:
        return partial(_read, bench=bench, site=site, tensors=tensors, genes=genes)
    parameters = [tensors[site.tensors[role]] for role in ("step", "v0", "decay", "leak")]
    options = kwargs_of(node)
    told = {"levels": options["levels"], "negative": options.get("negative", 0), "axis": options.get("axis", 1)}
    return lambda driving: run_uniform(driving[0], *parameters, **told, reset=options.get("reset", "subtract"), timesteps=steps)


def _read(driving: Sequence[Tensor], *, bench: Bench, site: Site, tensors: Mapping[str, Tensor], genes: Tensor) -> Tensor:
    """A table, with (2) for its genes."""
    x, *gain = driving
    axis = site.options["axis"]
    c, s = (along(part, axis, x) for part in bench.space.moved(site, genes))
    reach = (x / gain[0] if gain else x).detach() + s.detach()
    ghost = (s - s.detach()) - reach * (c.log() - c.log().detach())  # an exact zero
    ghost = ghost * gain[0].detach() if gain else ghost
    thresholds, values = (tensors[site.tensors[role]] for role in ("thresholds", "values"))
    return run_table(x + ghost, thresholds.detach(), values, *gain, axis=axis, timesteps=bench.timesteps)


def _spent(bench: Bench, site: Site, sent: Tensor, tensors: Mapping[str, Tensor], weight: float) -> Tensor:
    """A population's part of the energy term and of the penalty on rates, differentiable."""
    if site.table:
        values = read(tensors[site.tensors["values"]])
        level = sent / along(values.abs().mean(-1).detach().clamp_min(1e-12), site.options["axis"], sent)
    else:
        level = sent / along(tensors[site.tensors["step"]].detach(), site.options["axis"], sent)
    size = level.abs() if bench.prices.encoding == "unary" else level.abs().clamp(max=1.0)
    rate = level.abs().clamp(max=1.0).mean()
    low, high = bench.limits.min_rate or 0.0, 1.0 if bench.limits.max_rate is None else bench.limits.max_rate
    penalty = PENALTY * ((low - rate).clamp_min(0.0) + (rate - high).clamp_min(0.0)) if bench.limits.bounds_rates else torch.zeros(())
    batch = sent.shape[0] // bench.timesteps
    cost = bench.prices.event_pj.get(site.node, 0.0) * size.sum() / batch / max(bench.start_pj, 1e-30)
    return weight * cost + penalty
