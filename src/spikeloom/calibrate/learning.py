"""
Error compensation learning, block by block: what no closed form reaches is learnt from the ANN, on unlabelled samples.

    min_p  Σ_outputs E‖a_ann − mean_t s_p(x_snn)‖² / E‖a_ann‖²                                              (1)

Each block runs on the spikes it really gets and learns what the ANN gives at its outputs: steps (clipping thresholds), initial
potentials, biases, heights of tables, scales of weights (`knobs`), by surrogate gradients. A part of the samples is held out: a block
that is no better on those stays as it was. Memory is that of one block.

Sources: learnable thresholds and initial potential: ECL, Liu et al. 2025, arXiv:2506.01968, there by training the ANN; block by block and
without labels: Li et al. 2021, arXiv:2102.05426 (BRECQ); gradients of steps: Esser et al. 2020, arXiv:1902.08153.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.calibrate.blocks import Block, blocks
from spikeloom.calibrate.knobs import Knob, knobs_of
from spikeloom.calibrate.pair import Pair
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Dialect, Pass, Program


@final
@dataclass(frozen=True)
class LearnCompensation(Pass):
    """Turns the knobs of every block towards the ANN: `steps` of Adam at `rate` for each, on batches of `batch` samples, of which a
    `held_out` share judges. With `weights` those on no grid are turned too."""

    timesteps: int = 1
    steps: int = 150
    batch: int = 32
    rate: float = 3e-3
    held_out: float = 0.2
    weights: bool = True
    memory_bytes: int = 2**30

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = ("Liu et al. 2025, arXiv:2506.01968 (ECL)", "Li et al. 2021, arXiv:2102.05426 (BRECQ)")

    def __call__(self, program: Program, context: Context) -> Program:
        self.check()
        pair = Pair(program, context, self.timesteps, self.batch, self.memory_bytes)
        parts = blocks(pair.graph)
        rows: list[dict[str, Any]] = []
        for done, block in enumerate(parts):
            with torch.no_grad():
                pair.run_exact(block.nodes)
            rows += self._learnt(pair, block, context)
            with torch.no_grad():
                pair.run_spiking(block.nodes)
            context.progress("learning blocks", done + 1, len(parts))
        return program.replaced(tensors=pair.tensors).recorded(self.record(samples=pair.samples, blocks=rows))

    def check(self) -> None:
        """Raises ConfigError for options that learn nothing."""
        if self.steps < 1 or self.batch < 1 or not self.rate > 0:
            found = f"steps={self.steps}, batch={self.batch}, rate={self.rate}"
            raise ConfigError("error compensation learning cannot go so", found=found, allowed="steps and batch 1 or more, rate above 0")
        if not 0 < self.held_out < 1:
            raise ConfigError("the held-out share is out of range", found=self.held_out, allowed="above 0, below 1")

    def _learnt(self, pair: Pair, block: Block, context: Context) -> list[dict[str, Any]]:
        """Turn one block's knobs, and keep that if it is better on the samples held out; what came of it."""
        knobs = knobs_of(block.nodes, pair.tensors, weights=self.weights)
        if not knobs or not block.outputs:
            return []
        judges = max(1, round(self.held_out * len(pair)))
        taught, powers = range(len(pair) - judges), pair.powers(block.outputs)
        held = range(len(pair) - judges, len(pair))
        loss = _Loss(pair, block, knobs, powers)
        before = loss.mean({name: knob.rest for name, knob in knobs.items()}, held)
        turned = _descended(loss, knobs, list(taught), self.steps, self.rate, context.generator())
        after = loss.mean(turned, held)
        if after < before:
            pair.tensors |= {name: knob.set(turned[name]) for name, knob in knobs.items()}
        return [{"block": block.outputs[-1].name, "before": before, "after": after, "kept": after < before}]


def _descended(
    loss: "_Loss", knobs: Mapping[str, Knob], taught: Sequence[int], steps: int, rate: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """The knobs after `steps` of Adam, the rate falling to 0 along half a cosine."""
    turned = {name: knob.rest.requires_grad_() for name, knob in knobs.items()}
    optimiser = torch.optim.Adam(turned.values(), lr=rate)
    order: list[int] = []
    for step in range(steps):
        order = order or torch.randperm(len(taught), generator=generator).tolist()
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.zero_grad()
        with torch.enable_grad():
            loss(turned, taught[order.pop()]).backward()
        optimiser.step()
    return {name: p.detach() for name, p in turned.items()}


@final
class _Loss:
    """(1) for one block and one chunk of samples."""

    def __init__(self, pair: Pair, block: Block, knobs: Mapping[str, Knob], powers: Mapping[fx.Node, float]) -> None:
        self.pair, self.block, self.knobs, self.powers = pair, block, knobs, powers

    def __call__(self, turned: Mapping[str, Tensor], place: int) -> Tensor:
        values = {name: knob.turned(turned[name]) for name, knob in self.knobs.items()}
        given = self.pair.spiking(self.block, place, values)
        parts = [(given[node] - self.pair.exact_at(node, place)).square().mean() / self.powers[node] for node in self.block.outputs]
        return torch.stack(parts).sum()

    def mean(self, turned: Mapping[str, Tensor], places: Sequence[int]) -> float:
        """Over several chunks, without gradients."""
        with torch.no_grad():
            return sum(float(self(turned, place)) for place in places) / len(places)
