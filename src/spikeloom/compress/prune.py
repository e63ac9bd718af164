"""
Pruning: connections that are worth least leave, and those that stay make it good.

`PruneMagnitude` takes small weights from an ANN, in one go: the plain way, and the control. `PruneSpikes` takes from an SNN what its
spikes contribute least with: in rounds, each of which measures anew what every layer receives, what every weight is worth to its layer
(`worth`) and the layer to the network (`sensitivity`), takes the least of all by one budget, and refits the others (`refit`).

    score_ij = F_i · w_ij² / [(C_MM)⁻¹]_jj · places / price_ij                                             (1)

Sources: second order, `worth`; comparing layers, `sensitivity`; rounds, Zhu & Gupta 2017, arXiv:1710.01878.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.compress.budget import cheapest, schedule
from spikeloom.compress.masks import UNSTRUCTURED, best_of, pattern_of
from spikeloom.compress.refit import Layer, Walk, layers_of, marked, price
from spikeloom.compress.fisher import sensitivities
from spikeloom.compress.worth import WORTHS
from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import (
    Context,
    Dialect,
    Pass,
    Program,
    Signal,
    batches_of,
    calls,
    checked,
    clone,
    signals,
    set_weights,
    source_of,
    weighted,
    weights_of,
    swept,
)
from spikeloom.simulate import Counter, solvable

BUDGETS = ("weights", "operations")


@final
@dataclass(frozen=True)
class PruneSpikes(Pass):
    sparsity: float = 0.5
    budget: str = "weights"
    pattern: str = UNSTRUCTURED
    worth: str = "second_order"
    rounds: int = 8
    timesteps: int = 1
    sensitivity: bool = True
    logits: bool = True
    keep: tuple[str, ...] = ()
    gradient_samples: int = 256
    rows_per_weight: int = 32
    limit_bytes: int = 8 * 2**30
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})

    def __call__(self, program: Program, context: Context) -> Program:
        kept = {node.name: torch.ones(node_shape(node, program), dtype=torch.bool) for node in prunable(program, self.keep)}
        exact = {node.name: weights_of(node, program.tensors) for node in calls(program.graph) if weighted(node)}
        walk = Walk(self.timesteps, self.worth, self.rows_per_weight, self.limit_bytes, self.memory_bytes)
        felt = self._felt(program, context)
        after, found = walk(program, context, kept, exact, felt)
        for share in schedule(self.sparsity, self.rounds):
            felt = self._felt(after, context)
            kept = self._chosen(found, kept, share)
            after, found = walk(after, context, kept, exact, felt)
            0 and print([round(l.ridge,3) for l in found.values()])
        return marked(after, kept, self.pattern).recorded(self.record())

    def _felt(self, program, context):
        batches = islice(checked(batches_of(context)(), program), max(1, self.gradient_samples // 64))
        f = sensitivities(program, batches, self.timesteps, context.generator(), logits=self.logits)
        return f if self.sensitivity else {n: torch.ones_like(v) for n, v in f.items()}

    def _chosen(self, found: Mapping[str, Layer], kept: Mapping[str, Tensor], share: float):
        worths = {name: layer.worth for name, layer in found.items()}
        prices = [price(found[name], self.budget) for name in worths]
        masks = cheapest([worth * kept[name] for name, worth in worths.items()], prices, share)
        return dict(zip(worths, masks, strict=True))


def prunable(program: Program, keep=()) -> list[fx.Node]:
    carried = signals(program.graph)
    return [n for n in calls(program.graph) if weighted(n) and solvable(n) and carried[source_of(n)] is not Signal.INPUT and n.name not in keep]

def node_shape(node, program):
    return weights_of(node, program.tensors)[0].shape
