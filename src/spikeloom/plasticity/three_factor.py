"""
The three-factor rule: what came in, how the neuron would have answered to a little more, and a signal from afar.

    x̄[t] = α·x̄[t−1] + pre[t]                         what the membrane still holds of its input; α = 0 at T=1     (1)
    e[t] = κ·e[t−1] + g[t] ⊗ x̄[t]                     eligibility [B, out, in]; κ·e is dropped where t is fresh   (2)
    Δw[t] = L[t]·e[t]                                 sum or mean over the batch                                  (3)

    e-prop          g = ψ, the surrogate derivative of the neuron; L [B, out] the error, brought to each neuron by fixed feedback
    actor-critic    g = ψ·F, F [B, out] the feedback of the chosen action; L [B, 1] the TD error; κ = γλ

ψ of a Scale-and-Fire neuron at T=1 is 1 inside its range and 0 outside (`psi_inside`); of other neurons it is one of
`neuron.SURROGATES`. Δw is what raises the score: give L as −∂loss/∂out for a loss, and multiply with a learning rate (`step_size`).
Spikes of several levels enter by value. A fresh sample is at the first step of an episode: nothing is due to what was before.

(2) costs a pass over [B, out, in] at every step. `window` gives the same sums by one matrix product.

Sources: Bellec et al. 2020, Nature Communications 11, 3625 (e-prop, equations 1–5); Frémaux & Gerstner 2016, Frontiers in Neural
Circuits 9, 85; Lillicrap et al. 2016, Nature Communications 7, 13276 (fixed feedback); Sutton & Barto, 2nd ed., 13.5 (κ = γλ).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.plasticity.batch import OverBatch, outer_each, weighted_sum
from spikeloom.plasticity.refusing import refuse_unless_within


def psi_inside(h: Float[Tensor, "*any"], height: float, levels: int, negative_levels: int = 0) -> Float[Tensor, "*any"]:
    """ψ of a uniform staircase: 1 where h (with v[0]) lies in one of its cells, −n·height ≤ h < (N + 1)·height, else 0: straight-through
    inside, nothing outside (Bengio et al. 2013, arXiv 1308.3432)."""
    if not height > 0 or levels < 0 or negative_levels < 0 or levels + negative_levels < 1:
        raise ConfigError("no staircase", found=(height, levels, negative_levels), allowed="height > 0 and at least one level")
    return ((h >= -negative_levels * height) & (h < (levels + 1) * height)).to(h.dtype)


def feedback(outputs: int, signals: int, generator: torch.Generator, like: Tensor | None = None) -> Float[Tensor, "o s"]:
    """Fixed random wires that bring `signals` errors to `outputs` neurons: L = errors @ feedbackᵀ; normal, of variance 1/signals."""
    wires = torch.randn(outputs, signals, generator=generator) / max(signals, 1) ** 0.5
    return wires if like is None else wires.to(like)


@final
class ThreeFactorState(NamedTuple):
    """x̄ [B, in] and e [B, out, in]."""

    pre: Tensor
    trace: Tensor


@final
@dataclass(frozen=True)
class ThreeFactor:
    """The parameters of (1)–(3): κ and α, per step."""

    decay: float
    pre_decay: float = 0.0
    over_batch: OverBatch = "mean"

    def __post_init__(self) -> None:
        refuse_unless_within("the three-factor rule", 0.0, 1.0, decay=self.decay, pre_decay=self.pre_decay)

    def init(self, batch: int, inputs: int, outputs: int, like: Tensor | None = None) -> ThreeFactorState:
        """Nothing remembered; of the kind and on the device of `like` where it is given."""
        like = torch.zeros(()) if like is None else like
        return ThreeFactorState(like.new_zeros(batch, inputs), like.new_zeros(batch, outputs, inputs))

    def step(
        self,
        state: ThreeFactorState,
        pre: Float[Tensor, "b i"],
        gain: Float[Tensor, "b o"],
        signal: Float[Tensor, "b l"],
        fresh: Bool[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "o i"], ThreeFactorState]:
        """The change of the weights [out, in] for g = `gain` and L = `signal` ([B, 1] or [B, out]), and the state."""
        held, marks = state
        if fresh is not None:
            held = held * ~fresh[:, None]
        held = filtered(held, pre, self.pre_decay)  # (1)
        marks = torch.baddbmm(marks, gain[:, :, None], held[:, None, :], beta=self.decay)  # (2)
        if fresh is not None:
            marks[fresh] = outer_each(gain[fresh], held[fresh])
        return weighted_sum(signal, marks, self.over_batch), ThreeFactorState(held, marks)  # (3)


def filtered(held: Float[Tensor, "b i"], pre: Float[Tensor, "b i"], decay: float) -> Float[Tensor, "b i"]:
    """(1)"""
    return pre if decay == 0 else decay * held + pre
