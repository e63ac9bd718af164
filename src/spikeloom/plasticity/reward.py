"""
Reward-modulated STDP: STDP marks synapses, a reward that comes later turns the marks into changes.

    e[t] = a_e·e[t−1] + STDP[t]                    a mark at each synapse, τ_e of about a second                 (1)
    d[t] = a_d·d[t−1] + r[t]                       dopamine, its own decay; a_d = 0: the reward itself           (2)
    Δw[t] = η·d[t]·e[t]                            mean or sum over the batch                                    (3)

(1)–(3) are Izhikevich's with η = Δt in his unit of time, and Florian's (MSTDPET) without τ_d. η is per step. Bounds are hard ones, on
(3): the marks themselves have none. Every sample of a batch has its own marks, reward and dopamine.

Sources: Izhikevich 2007, Cerebral Cortex 17, 2443; Florian 2007, Neural Computation 19, 1468.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.plasticity.batch import weighted_sum
from spikeloom.plasticity.bounds import Bounds, weights_for
from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_positive
from spikeloom.plasticity.stdp import STDP, STDPState
from spikeloom.plasticity.trace import decay_of


@final
class RewardState(NamedTuple):
    """STDP's traces, the marks e [B, out, in], and dopamine d [B]."""

    traces: STDPState
    eligibility: Tensor
    dopamine: Tensor


@final
@dataclass(frozen=True)
class RewardSTDP:
    """The parameters of (1)–(3); the step's length and what is done over the batch are `stdp`'s."""

    stdp: STDP
    rate: float
    tau_eligibility_ms: float = 1000.0
    tau_dopamine_ms: float | None = 200.0
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        taus = {"tau_eligibility_ms": self.tau_eligibility_ms, "tau_dopamine_ms": self.tau_dopamine_ms}
        refuse_unless_positive("reward-modulated STDP", **taus)
        refuse_unless_finite("reward-modulated STDP", rate=self.rate)
        if self.stdp.bounds is not None or (self.bounds is not None and self.bounds.soft):
            raise ConfigError(
                "reward-modulated STDP takes hard bounds on its own changes, and none on its marks",
                found=f"bounds={self.bounds}, stdp.bounds={self.stdp.bounds}",
                todo="give bounds to RewardSTDP, with exponents 0",
            )

    @property
    def dopamine_decay(self) -> float:
        """a_d, per step."""
        return 0.0 if self.tau_dopamine_ms is None else decay_of(self.tau_dopamine_ms, self.stdp.dt_ms)

    def init(self, batch: int, inputs: int, outputs: int, like: Tensor | None = None) -> RewardState:
        """No spikes, no marks, no dopamine; of the kind and on the device of `like` where it is given."""
        like = torch.zeros(()) if like is None else like
        marks = like.new_zeros(batch, outputs, inputs)
        return RewardState(self.stdp.init(batch, inputs, outputs, like), marks, like.new_zeros(batch))

    def step(
        self,
        state: RewardState,
        pre: Float[Tensor, "b i"],
        post: Float[Tensor, "b o"],
        reward: Float[Tensor, " b"],
        weights: Float[Tensor, "o i"] | None = None,
    ) -> tuple[Float[Tensor, "o i"], RewardState]:
        """The change of the weights [out, in] and the state after this step. Raises ConfigError for bounds without weights."""
        asked, traces = self.stdp.step_each(state.traces, pre, post)
        marks = decay_of(self.tau_eligibility_ms, self.stdp.dt_ms) * state.eligibility + asked  # (1)
        dopamine = self.dopamine_decay * state.dopamine + reward  # (2)
        change = self.rate * weighted_sum(dopamine[:, None], marks, self.stdp.over_batch)  # (3)
        if self.bounds is not None:
            change = self.bounds.kept(weights_for(weights), change)
        return change, RewardState(traces, marks, dopamine)
