"""
Causal (eligibility) traces: a synapse remembers that its neurons were active in this order, until something comes of it.

    x̄[t] = a_x·x̄[t−1] + pre[t]                    a_x = exp(−Δt/τ_pre), 0 without τ_pre                       (1)
    e[t] = a_e·e[t−1] + g·post[t]·x̄[t]             a_e = exp(−Δt/τ)                                            (2)

g = 1, or 1 − a_e where `normalised`: then a Hebbian term that stays the same gives itself, whatever τ is. A presynaptic spike counts for
postsynaptic spikes of its own step and of later ones, never of earlier ones. Spikes of several levels count by their levels.

Sources: Barto, Sutton, Anderson 1983, IEEE SMC 13, 834; Gerstner et al. 2018, Frontiers in Neural Circuits 12, 53.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.batch import outer_each
from spikeloom.plasticity.refusing import refuse_unless_positive
from spikeloom.plasticity.trace import decay_of


@final
class EligibilityState(NamedTuple):
    """x̄ [B, in] and e [B, out, in]."""

    pre: Tensor
    trace: Tensor


@final
@dataclass(frozen=True)
class Eligibility:
    """The parameters of (1) and (2)."""

    tau_ms: float
    tau_pre_ms: float | None = None
    dt_ms: float = 1.0
    normalised: bool = False

    def __post_init__(self) -> None:
        refuse_unless_positive("an eligibility trace", tau_ms=self.tau_ms, tau_pre_ms=self.tau_pre_ms, dt_ms=self.dt_ms)

    @property
    def gain(self) -> float:
        """g of (2)."""
        return 1 - decay_of(self.tau_ms, self.dt_ms) if self.normalised else 1.0

    def init(self, batch: int, inputs: int, outputs: int, like: Tensor | None = None) -> EligibilityState:
        """Nothing remembered; of the kind and on the device of `like` where it is given."""
        like = torch.zeros(()) if like is None else like
        return EligibilityState(like.new_zeros(batch, inputs), like.new_zeros(batch, outputs, inputs))

    def step(
        self, state: EligibilityState, pre: Float[Tensor, "b i"], post: Float[Tensor, "b o"]
    ) -> tuple[Float[Tensor, "b o i"], EligibilityState]:
        """e of each sample after this step, and the state, which holds it."""
        held = pre if self.tau_pre_ms is None else decay_of(self.tau_pre_ms, self.dt_ms) * state.pre + pre
        trace = decay_of(self.tau_ms, self.dt_ms) * state.trace + outer_each(self.gain * post, held)
        return trace, EligibilityState(held, trace)
