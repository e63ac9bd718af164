"""
The three-factor rule over a window of K steps: the sums of `three_factor` by one matrix product, without a trace at each synapse.

    Σ_t L[t]·e[t] = Σ_k (c[k] ∘ g[k]) ⊗ x̄[k],    c[k] = Σ_{t ≥ k} κ^(t−k)·L[t]                               (1)
    c[k] = L[k] + κ·c[k+1]                       backwards; κ·c[k+1] is dropped where step k+1 is fresh         (2)

What a synapse gathers forwards (e, with κ = γλ) is what its steps are credited with backwards (c): with TD errors as L, c is the
generalised advantage. (1) costs K·B·out·in multiplications where B·out·in traces cost as much at every one of the K steps, in one product
that is bound by arithmetic and not by memory.

`windowed` is (1) for arrays at hand. `Window` gathers them: `collect_` notes a step, `settle_` gives the sum of all that was noted and
forgets it. `advance_` instead gives what has been in the window for K steps, so that every step has K signals' credit, and what is left out
is what came more than K steps later, κ^K of it and less.

Sources: Sutton & Barto, 2nd ed., 12.1–12.4 (forward and backward view); Schulman et al. 2016, arXiv:1506.02438, equation 16 (2).
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.plasticity.batch import OverBatch
from spikeloom.plasticity.refusing import refuse_unless_within
from spikeloom.plasticity.three_factor import filtered


def credits_of(signal: Float[Tensor, "k b l"], decay: float, fresh: Bool[Tensor, "k b"] | None = None) -> Float[Tensor, "k b l"]:
    """c of (2) for K steps: what each is credited with for the signals of its own and later steps of the same episode."""
    credit, rows = torch.zeros_like(signal[0]), list[Tensor]()
    for k in reversed(range(len(signal))):
        credit = signal[k] + decay * credit
        rows.append(credit)
        if fresh is not None:
            credit = credit * ~fresh[k][:, None]
    return torch.stack(rows[::-1])


def windowed(
    pre: Float[Tensor, "k b i"],
    gain: Float[Tensor, "k b o"],
    signal: Float[Tensor, "k b l"],
    decay: float,
    *,
    fresh: Bool[Tensor, "k b"] | None = None,
    over_batch: OverBatch = "mean",
) -> Float[Tensor, "o i"]:
    """(1): the sum of the K changes that `ThreeFactor` gives from an empty trace on; `pre` is x̄ (α = 0: the spikes)."""
    return _product(pre, credits_of(signal, decay, fresh) * gain, over_batch)


def _product(pre: Float[Tensor, "k b i"], driven: Float[Tensor, "k b o"], over_batch: OverBatch) -> Float[Tensor, "o i"]:
    total = driven.flatten(0, 1).T @ pre.flatten(0, 1)
    return total if over_batch == "sum" else total / max(pre.shape[1], 1)


@final
@dataclass(eq=False)
class WindowState:
    """What a window holds, in a ring of K rows, written in place: x̄, g, c, and `reach`, κ^age or 0 where an episode has ended since.

    `count` rows are in use, the oldest at `first`. `held` is x̄ of the last step.
    """

    pre: Float[Tensor, "k b i"]
    gain: Float[Tensor, "k b o"]
    credit: Float[Tensor, "k b l"]
    reach: Float[Tensor, "k b 1"]
    held: Float[Tensor, "b i"]
    first: int = 0
    count: int = 0


@final
@dataclass(frozen=True)
class Window:
    """K, κ and α, as in `ThreeFactor`; `per_neuron`: L is [B, out] and not [B, 1]."""

    steps: int
    decay: float
    pre_decay: float = 0.0
    per_neuron: bool = False
    over_batch: OverBatch = "mean"

    def __post_init__(self) -> None:
        refuse_unless_within("a window", 0.0, 1.0, decay=self.decay, pre_decay=self.pre_decay)
        if self.steps < 1:
            raise ConfigError("a window must hold a step", found=self.steps, allowed="1 or more")

    def init(self, batch: int, inputs: int, outputs: int, like: Tensor | None = None) -> WindowState:
        """An empty window; of the kind and on the device of `like` where it is given."""
        like = torch.zeros(()) if like is None else like
        rows = (self.steps, batch)
        signals = outputs if self.per_neuron else 1
        made = [like.new_zeros(*rows, width) for width in (inputs, outputs, signals, 1)]
        return WindowState(made[0], made[1], made[2], made[3], like.new_zeros(batch, inputs))

    def collect_(
        self,
        state: WindowState,
        pre: Float[Tensor, "b i"],
        gain: Float[Tensor, "b o"],
        signal: Float[Tensor, "b l"],
        fresh: Bool[Tensor, " b"] | None = None,
    ) -> None:
        """Notes a step in `state`. Raises ConfigError where the window is full."""
        if state.count == self.steps:
            raise ConfigError("a window is full", found=f"{state.count} steps", todo="settle_ it, or advance_ instead of collect_")
        state.reach.mul_(self.decay)
        if fresh is not None:
            state.reach.mul_(~fresh[:, None])
            state.held = state.held * ~fresh[:, None]
        state.held = filtered(state.held, pre, self.pre_decay)
        at = (state.first + state.count) % self.steps
        state.count += 1
        state.pre[at], state.gain[at], state.credit[at], state.reach[at] = state.held, gain, 0.0, 1.0
        state.credit.addcmul_(state.reach, signal)  # every step still in reach is credited

    def settle_(self, state: WindowState) -> Float[Tensor, "o i"]:
        """The change of the weights for all steps noted; the window is empty afterwards."""
        rows = torch.arange(state.first, state.first + state.count) % self.steps
        whole = state.count == self.steps
        pre, gain, credit = (each if whole else each[rows] for each in (state.pre, state.gain, state.credit))
        state.first = state.count = 0
        state.reach.zero_()
        return _product(pre, credit * gain, self.over_batch)

    def advance_(
        self,
        state: WindowState,
        pre: Float[Tensor, "b i"],
        gain: Float[Tensor, "b o"],
        signal: Float[Tensor, "b l"],
        fresh: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "o i"]:
        """Notes a step, and gives the change for the one that leaves the window: 0 until there is one."""
        outputs, inputs = state.gain.shape[2], state.pre.shape[2]
        change = state.pre.new_zeros(outputs, inputs)
        if state.count == self.steps:
            oldest = slice(state.first, state.first + 1)
            change = _product(state.pre[oldest], state.credit[oldest] * state.gain[oldest], self.over_batch)
            state.reach[oldest] = 0.0
            state.first, state.count = (state.first + 1) % self.steps, state.count - 1
        self.collect_(state, pre, gain, signal, fresh)
        return change
