"""
Refitting: one sweep through the network in which every population moves its genes to where its own spikes match the ANN best.

    g_l ← argmin over moves of E[(a_l − ō_l(z_l; g))²]       z_l what it really receives, after the populations before it moved   (1)

a_l is the ANN's activation, ō_l the mean of the spikes over T. Every group of channels tries the same moves at once and keeps its own
best, so a move costs one pass through one population, and a sweep little more than one evaluation. The moves are a few fixed strides of
each parameter, one parameter after the other.

Source: layer-wise matching of spike rates, Li et al. 2021, arXiv:2106.06984; Bojkovic et al. 2024 (data-based thresholds).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.evolve.bench import HALF, Bench, one_thread
from spikeloom.evolve.network import Network
from spikeloom.evolve.space import Genes, Site, group_of
from spikeloom.ir import constant_name, driven_by, read, target_of
from spikeloom.neuron import by_channel
from spikeloom.simulate import Frontier, decoded, firing, repeated

STRIDES: Mapping[str, tuple[float, ...]] = {
    "leak": (-0.6, -0.3, 0.3, 0.6),
    "decay": (-2.0, 2.0),
    "initial": (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
    "threshold": (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0),
}
"""The moves, in the order in which they are tried, in units of the genes."""
MEMORY_BYTES = 2**30


def refitted(bench: Bench, genes: Genes) -> Genes:
    """The genes after one sweep of (1)."""
    network, found = bench.network, np.array(genes, dtype=np.float64)
    front = Frontier(network.graph, MEMORY_BYTES)
    inputs = iter(range(len(bench.chunks[0])))
    with torch.no_grad(), one_thread():
        for node in network.nodes:
            if node.op == "placeholder":
                at = next(inputs)
                front.put(node, [repeated(chunk[at], bench.timesteps) for chunk in bench.chunks])
            elif node.op == "get_attr":
                front.put(node, [read(bench.program.tensors[constant_name(node)])])
            elif node.op == "output":
                break
            elif node.name in network.populations:
                site = bench.sites.get(node.name)
                given = _driving(front, node, network)
                if site is not None and site.node in bench.activations[0]:
                    _fit(bench, site, found, given)
                fire = firing(network.populations[node.name], {**bench.program.tensors, **bench.tensors(found)}, bench.timesteps)
                front.put(node, [fire(values) for values in given])
            else:
                function = network.modules[str(node.target)] if node.op == "call_module" else target_of(node)
                front.put(node, front.call(node, function))
            front.drop_before(node)
    return found


def _driving(front: Frontier, node: fx.Node, network: Network) -> list[tuple[Tensor, ...]]:
    names = [operand.name for operand in driven_by(network.populations[node.name])]
    operands = [next(each for each in node.all_input_nodes if each.name == name) for name in names]
    return list(zip(*(front.values[each] for each in operands), strict=True))


def _fit(bench: Bench, site: Site, genes: Genes, given: Sequence[tuple[Tensor, ...]]) -> None:
    """(1) for one population: `genes` is written to."""
    best = _errors(bench, site, genes, given)
    for name in STRIDES:
        if name not in site.genes:
            continue
        part, low_high = site.genes[name], bench.space.bounds[site.genes[name]]
        start = genes[part].copy()
        for stride in STRIDES[name]:
            tried = genes.copy()
            tried[part] = np.clip(start + stride, low_high[:, 0], low_high[:, 1])
            errors = _errors(bench, site, tried, given)
            better = errors < best
            genes[part] = np.where(better, tried[part], genes[part])
            best = np.where(better, errors, best)


def _errors(bench: Bench, site: Site, genes: Genes, given: Sequence[tuple[Tensor, ...]]) -> Float[np.ndarray, " g"]:
    """The squared error of every group of a population's channels."""
    node = bench.network.populations[site.node]
    tensors = {name: tensor for name, tensor in bench.tensors(genes).items() if name in site.tensors.values()}
    fire = firing(node, {**bench.program.tensors, **tensors}, bench.timesteps)
    groups = max(part.stop - part.start for part in site.genes.values())
    total = torch.zeros(groups, dtype=torch.float64)
    for values, acts in zip(given, bench.activations, strict=True):
        a = acts[site.node].float()
        wrong = by_channel(torch.where(a > -HALF, decoded(fire(values), bench.timesteps) - a, 0.0), site.options["axis"]).square().sum(1)
        total.index_add_(0, group_of(len(wrong), groups), wrong.double())
    return total.numpy()
