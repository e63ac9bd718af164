"""
Pruning: connections that are worth least leave, and those that stay make it good.

`PruneMagnitude` takes small weights from an ANN, in one go: the plain way, and the control. `PruneSpikes` takes from an SNN what its
spikes contribute least with, in rounds: each measures anew what every layer receives, what every weight is worth to its layer (`worth`) and
every output of the layer to the network (`response`), takes the least of the whole network by one budget (`budget`), and refits the others
(`refit`).

    worth_ij = F_i w_ij² / [(C_MM)⁻¹]_jj     u = worth / Σ of the layer's worth that is no less     price = 1, or events · places       (1)

What leaves is what has the least u / price. Zeros stay zeros: pruned layers are noted "pruned" with their pattern.

Sources: Hassibi & Stork 1993 (optimal brain surgeon); Lee et al. 2020, arXiv:2010.07611 (layers compared); Zhu & Gupta 2017,
arXiv:1710.01878 (rounds); Mishra et al. 2021, arXiv:2104.08378 (N:M).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.compress.budget import cheapest, check_share, schedule
from spikeloom.compress.masks import UNSTRUCTURED, best_of, pattern_of
from spikeloom.compress.refit import Layer, Masks, Walk
from spikeloom.compress.response import responses
from spikeloom.compress.tally import first_of, operations_of, sparsity_of, told
from spikeloom.compress.worth import WORTHS, relative
from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import (
    Context,
    Dialect,
    Pass,
    Program,
    Signal,
    calls,
    clone,
    note,
    read,
    set_weights,
    shaped,
    signals,
    source_of,
    swept,
    weighted,
    weights_of,
)
from spikeloom.simulate import solvable

BUDGETS = ("weights", "operations")


@final
@dataclass(frozen=True)
class PruneSpikes(Pass):
    """Takes connections from an SNN with thresholds until `sparsity` of its weights, or of its synaptic operations (`budget` 'operations'),
    has left; with `pattern` "2:4" exactly so many of every M inputs stay, whatever the budget. Pruned are linear layers and convolutions
    that read spikes, but those that `keep` names.

    `worth` is 'second_order', or 'firing' or 'magnitude' for comparison; `rounds` how often it is measured anew, `response_samples`
    on how many samples the network's answer is. The weights that stay,
    and those of layers that are kept whole, are refitted towards the network as it is given, with its functions exact: it belongs after
    thresholds and before compensation, which keeps the zeros. T is `timesteps`; samples and room as in compensation. The record says
    the sparsity and the synaptic operations before and after, in all and by layer.

    Raises ConfigError for options out of range, a pattern that does not divide a layer's inputs, names of no layer; NumericError where a
    layer would lose all its weights, or no spike meets a weight."""

    sparsity: float = 0.5
    budget: str = "weights"
    pattern: str = UNSTRUCTURED
    worth: str = "second_order"
    rounds: int = 4
    timesteps: int = 1
    keep: tuple[str, ...] = ()
    response_samples: int = 256
    rows_per_weight: int = 48
    limit_bytes: int = 8 * 2**30
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = (
        "Hassibi & Stork 1993 (optimal brain surgeon)",
        "Frantar & Alistarh 2022, arXiv:2208.11580 (OBC), 2023, arXiv:2301.00774 (SparseGPT)",
        "Sun et al. 2023, arXiv:2306.11695 (Wanda)",
        "Lee et al. 2020, arXiv:2010.07611 (LAMP)",
        "Zhu & Gupta 2017, arXiv:1710.01878",
        "Mishra et al. 2021, arXiv:2104.08378 (N:M)",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        self.check()
        layers = prunable(program, self.keep)
        fits(layers, program, self.pattern)
        exact = {node.name: weights_of(node, program.tensors) for node in calls(program.graph) if weighted(node)}
        kept: Masks = {node.name: present(node, program) for node in layers}
        walk = Walk(self.timesteps, self.worth, self.rows_per_weight, self.limit_bytes, self.memory_bytes)
        after, found = walk(program, context, kept, exact, self._felt(program, context))
        for turn in range(self.turns()):
            kept = self._chosen(found, kept, turn)
            check_some(kept)
            after, found = walk(after, context, kept, exact, self._felt(after, context))
        after = marked(after, kept, self.pattern)
        operations = [operations_of(each, context, self.timesteps) for each in (program, after)]
        ridges = {name: layer.ridge for name, layer in found.items()}
        return after.recorded(self.record(sparsity=sparsity_of(after, kept), operations=told(*operations), ridges=ridges))

    def check(self) -> None:
        """Raises ConfigError for options that choose no connections."""
        check_share(self.sparsity, "compression.sparsity")
        pattern_of(self.pattern)
        if self.worth not in WORTHS:
            raise ConfigError("compression.worth is unknown", found=self.worth, allowed=", ".join(WORTHS))
        if self.budget not in BUDGETS:
            raise ConfigError("compression.budget is unknown", found=self.budget, allowed=", ".join(BUDGETS))
        if self.rounds < 1:
            raise ConfigError("compression.rounds is out of range", found=self.rounds, allowed="1 or more")

    def _felt(self, program: Program, context: Context) -> dict[str, Tensor] | None:
        """How much the network answers to each output of its layers; by magnitude alone it is not asked."""
        if self.worth == "magnitude":
            return None
        return responses(program, first_of(context, program, self.response_samples), self.timesteps, context.generator())

    def turns(self) -> int:
        """How many times connections leave: of every M inputs one at a time, but in no more than `rounds`."""
        pattern = pattern_of(self.pattern)
        return self.rounds if pattern is None else min(self.rounds, pattern[1] - pattern[0])

    def _chosen(self, found: Mapping[str, Layer], kept: Masks, turn: int) -> Masks:
        """What is still there after a round."""
        worths = {name: layer.worth * kept[name] for name, layer in found.items()}
        pattern = pattern_of(self.pattern)
        if pattern is not None:
            n, m = pattern
            return {name: best_of(worth, m - (m - n) * (turn + 1) // self.turns(), m) & kept[name] for name, worth in worths.items()}
        prices = [price(found[name], self.budget) for name in worths]
        masks = cheapest([relative(worth) for worth in worths.values()], prices, schedule(self.sparsity, self.rounds)[turn])
        return {name: mask & kept[name] for name, mask in zip(worths, masks, strict=True)}


@final
@dataclass(frozen=True)
class PruneMagnitude(Pass):
    """Takes the smallest weights from an ANN until `sparsity` of them has left, layers compared by what they would still have (`relative`,
    of w²) or, with `pattern` "2:4", so many of every M inputs. Nothing is refitted. Layers, `keep` and errors as of `PruneSpikes`."""

    sparsity: float = 0.5
    pattern: str = UNSTRUCTURED
    keep: tuple[str, ...] = ()

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = ("Han et al. 2015, arXiv:1506.02626", "Lee et al. 2020, arXiv:2010.07611 (LAMP)")

    def __call__(self, program: Program, context: Context) -> Program:
        check_share(self.sparsity, "compression.sparsity")
        layers, pattern = prunable(program, self.keep), pattern_of(self.pattern)
        fits(layers, program, self.pattern)
        weights = {node.name: read(weights_of(node, program.tensors)[0]) for node in layers}
        if pattern is None:
            worths = [relative(weight.square()) for weight in weights.values()]
            masks = cheapest(worths, [torch.ones_like(worth) for worth in worths], self.sparsity)
        else:
            masks = [best_of(weight.square(), *pattern) for weight in weights.values()]
        kept = dict(zip(weights, masks, strict=True))
        check_some(kept)
        graph, tensors = clone(program.graph), dict(program.tensors)
        for node in [node for node in calls(graph) if node.name in kept]:
            set_weights(node, graph, tensors, weights[node.name] * kept[node.name], weights_of(node, tensors)[1])
        after = marked(shaped(swept(program.replaced(graph=graph, tensors=tensors))), kept, self.pattern)
        return after.recorded(self.record(sparsity=sparsity_of(after, kept)))


def prunable(program: Program, keep: Sequence[str] = ()) -> list[fx.Node]:
    """The layers whose connections can leave: linear layers and convolutions that read spikes (in an ANN: what will be), but those kept.
    ConfigError where a name is none of theirs, or none is left."""
    carried = signals(program.graph)
    layers = [node for node in calls(program.graph) if weighted(node) and solvable(node) and carried[source_of(node)] is not Signal.INPUT]
    names = [node.name for node in layers]
    if unknown := sorted(set(keep) - set(names)):
        raise ConfigError("compression.keep names no layer that could be pruned", found=unknown[0], allowed=", ".join(names))
    if not set(names) - set(keep):
        raise ConfigError("no layer is left to prune", found=f"{len(names)} layers, all kept", todo="keep fewer layers")
    return [node for node in layers if node.name not in keep]


def fits(layers: Sequence[fx.Node], program: Program, pattern: str) -> None:
    """Raises ConfigError naming the layers whose inputs a pattern N:M does not divide."""
    asked = pattern_of(pattern)
    if asked is None:
        return
    inputs = {node.name: weights_of(node, program.tensors)[0].shape[1] for node in layers}
    if bad := [f"{name} ({count})" for name, count in inputs.items() if count % asked[1]]:
        todo = "keep these layers whole, or choose an M that divides their inputs"
        raise ConfigError(f"{pattern} does not divide the inputs of some layers", found=", ".join(bad), todo=todo)


def present(node: fx.Node, program: Program) -> Tensor:
    """The connections that a layer has: all, or those that are left where it was pruned before."""
    weight = read(weights_of(node, program.tensors)[0])
    return weight != 0 if "pruned" in note(node) else torch.ones(weight.shape, dtype=torch.bool)


def price(layer: Layer, budget: str) -> Tensor:
    """What each weight of a layer costs: 1, or its synaptic operations a step (in groups all inputs count as their mean)."""
    if budget == "weights":
        return torch.ones_like(layer.worth)
    inputs = layer.worth.shape[1]
    rates = layer.rates if len(layer.rates) == inputs else layer.rates.mean().expand(inputs)
    return (rates * layer.places).view(1, inputs, *[1] * (layer.worth.dim() - 2)).expand_as(layer.worth)


def check_some(kept: Masks) -> None:
    """Raises NumericError naming layers that have no connection left: what is behind them would not hear of the input."""
    if bare := [name for name, mask in kept.items() if not bool(mask.any())]:
        raise NumericError(
            "every connection of a layer would leave", found=", ".join(bare), todo="give a lower sparsity, or keep the layer"
        )


def marked(program: Program, kept: Masks, pattern: str) -> Program:
    """The program with its pruned layers noted, so that their zeros stay."""
    graph = clone(program.graph)
    for node in calls(graph):
        if node.name in kept:
            note(node)["pruned"] = pattern
    return program.replaced(graph=graph)
