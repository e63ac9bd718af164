"""
Structured pruning: channels and neurons that are worth least leave the graph, and the readers make it good.

Measured anew in each round: what a channel is worth to the layers that read it, as a share of the variance of what they give
(`worth.channel_worth`), so that it compares over the network; what never or hardly fires is worth nothing. Weights that read a channel
which leaves become 0, the others are refitted (`refit`), and the mean of what it sent goes into the readers' biases. At last the graph
shrinks (`shrink`), which changes no number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from spikeloom.compress.budget import cheapest, check_share, schedule
from spikeloom.compress.channels import Channels
from spikeloom.compress.refit import Layer, Walk
from spikeloom.compress.shrink import shrunk
from spikeloom.compress.tally import operations_of, told
from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import Context, Dialect, Pass, Program, calls, read, weighted, weights_of
from spikeloom.simulate import populations

CHANNEL_BUDGETS = ("channels", "operations")


@final
@dataclass(frozen=True)
class PruneChannels(Pass):
    """Takes channels from an SNN until `sparsity` of those that can leave, or of the operations they cost ('operations': multiply-
    accumulates of the layers that make and read them), has left, the least worth first, in `rounds`; those that fire in at most a share
    `rate` of neuron-steps leave besides. What stays is refitted towards the network as it is given, so it belongs after compensation; T is
    `timesteps`. The record says how many channels every population kept, and why channels that cannot leave stay.

    Raises ConfigError for a share out of range or an unknown budget, NumericError where a population would keep no channel."""

    sparsity: float = 0.0
    budget: str = "channels"
    rate: float = 0.0
    rounds: int = 3
    timesteps: int = 1
    rows_per_weight: int = 32
    limit_bytes: int = 8 * 2**30
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = (
        "Fang et al. 2023, arXiv:2301.12900 (DepGraph)",
        "Kurtic et al. 2023, arXiv:2302.04089 (structured second order)",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        self.check()
        channels = Channels(program)
        exact = {node.name: weights_of(node, program.tensors) for node in calls(program.graph) if weighted(node)}
        walk = Walk(self.timesteps, "firing", self.rows_per_weight, self.limit_bytes, self.memory_bytes)
        masks = {node.name: torch.ones(read(exact[node.name][0]).shape, dtype=torch.bool) for node, _ in channels.readers()}
        after, found = walk(program, context, masks, exact)
        leaving = set[int]()
        for share in schedule(self.sparsity, self.rounds if self.sparsity else 1):
            leaving |= self._leaving(channels, found, leaving, share)
            check_alive(channels, leaving)
            masks = {node.name: columns(masks[node.name], classes, leaving) for node, classes in channels.readers()}
            after, found = walk(after, context, masks, exact)
        small = shrunk(after, Channels(after), leaving)
        before, now = (operations_of(each, context, self.timesteps) for each in (program, small))
        return small.recorded(self.record(**self._numbers(program, small, channels), operations=told(before, now)))

    def check(self) -> None:
        """Raises ConfigError for options that choose no channels."""
        check_share(self.sparsity, "compression.sparsity", zero=True)
        check_share(self.rate, "compression.rate", zero=True)
        if self.budget not in CHANNEL_BUDGETS:
            raise ConfigError("compression.budget is unknown", found=self.budget, allowed=", ".join(CHANNEL_BUDGETS))
        if self.rounds < 1:
            raise ConfigError("compression.rounds is out of range", found=self.rounds, allowed="1 or more")

    def _leaving(self, channels: Channels, found: Mapping[str, Layer], left: set[int], share: float) -> set[int]:
        """The classes that have left after this round."""
        worth, rate = sums(channels, found, left)
        classes = list(worth)
        if not classes:
            held = ", ".join(sorted(set(channels.pinned().values()))[:4])
            raise NumericError("no channel can leave this network", found=held, todo="prune connections instead")
        price = prices(channels, found, classes) if self.budget == "operations" else torch.ones(len(classes), dtype=torch.float64)
        values = torch.tensor([worth[each] for each in classes], dtype=torch.float64)
        stays = cheapest([values], [price], share)[0]
        hardly = torch.tensor([rate[each] <= self.rate or worth[each] == 0 for each in classes])
        return {each for each, stay, silent in zip(classes, stays.tolist(), hardly.tolist(), strict=True) if silent or not stay}

    def _numbers(self, before: Program, after: Program, channels: Channels) -> dict[str, Any]:
        pinned = channels.pinned()
        counts, stay = dict[str, list[int]](), dict[str, str]()
        names = {node.name: node for node in populations(after)}
        for node in populations(before):
            if node in channels.values:
                axis = channels.values[node].axis
                counts[node.name] = [node.meta["spec"][0][axis], names[node.name].meta["spec"][0][axis]]
                reasons = {pinned[each] for each in channels.classes(node).tolist() if each in pinned}
                stay |= {node.name: "; ".join(sorted(reasons))} if reasons else {}
        return {"channels": counts, "stay": stay}


def sums(channels: Channels, found: Mapping[str, Layer], left: set[int]) -> tuple[dict[int, float], dict[int, float]]:
    """Of every class that may leave: what it is worth to all its readers, and the highest rate of its channels; what left is worth 0."""
    pinned, worth, rate = channels.pinned(), dict[int, float](), dict[int, float]()
    for node, slots in channels.readers():
        layer = found.get(node.name)
        for place, each in enumerate(slots.tolist()):
            if each in pinned:
                continue
            if layer is None:  # what reads it is not known well enough to do without it
                worth[each], rate[each] = float("inf"), float("inf")
                continue
            worth[each] = worth.get(each, 0.0) + (0.0 if each in left else float(layer.channels[place]))
            rate[each] = max(rate.get(each, 0.0), float(layer.rates[place]))
    return worth, rate


def prices(channels: Channels, found: Mapping[str, Layer], classes: list[int]) -> Tensor:
    """What each class costs: the multiply-accumulates an inference of the layers that read its channels, and of those that make them."""
    cost = dict.fromkeys(classes, 0.0)

    def spend(slots: Tensor, macs: float) -> None:
        for each in slots.tolist():
            if each in cost:
                cost[each] += macs

    for node, slots in channels.readers():
        if node.name in found:
            layer = found[node.name]
            spend(slots, layer.places * layer.worth[:, 0].numel())
            spend(channels.classes(node), layer.places * layer.worth[0].numel())
    return torch.tensor([cost[each] for each in classes], dtype=torch.float64)


def columns(mask: Tensor, classes: Tensor, leaving: set[int]) -> Tensor:
    """The mask of a layer that no longer reads some classes."""
    stays = ~torch.isin(classes, torch.tensor(sorted(leaving), dtype=torch.int64))
    return mask & stays.view(1, -1, *[1] * (mask.dim() - 2))


def check_alive(channels: Channels, leaving: set[int]) -> None:
    """Raises NumericError naming a population that would keep no channel."""
    for node in populations(channels.program):
        if node in channels.values and all(each in leaving for each in channels.classes(node).tolist()):
            raise NumericError(
                "nothing would be left of a population",
                found=f"all {len(channels.values[node].channels)} channels of %{node.name}",
                todo="give a lower sparsity or rate; a network in which nothing fires needs other thresholds or data",
            )
