"""
Spike-timing-dependent plasticity: pairs and triplets of spikes, one rule.

    r₁, r₂    traces of presynaptic spikes, τ₊ and τ_x         o₁, o₂    of postsynaptic spikes, τ₋ and τ_y
    P = post·(A₂⁺ + A₃⁺·o₂)·r₁         at a postsynaptic spike                                          (1)
    D = pre·(A₂⁻ + A₃⁻·r₂)·o₁          at a presynaptic spike                                           (2)
    Δw = P − D                         or by the room that is left: `bounds`                            (3)

Traces are read before this step's spikes enter them (t − ε in the paper): two spikes in one step change nothing together. Pairs are the
rule with A₃⁺ = A₃⁻ = 0. `nearest` pairs a spike with the last one only, by traces that are set and not summed.

A spike of k levels is k spikes at one moment: P and D are linear in it. Each step is `dt_ms` long.

Sources: Bi & Poo 1998, J. Neuroscience 18, 10464 (the window); Song, Miller, Abbott 2000, Nature Neuroscience 3, 919 (pairs, traces);
Pfister & Gerstner 2006, J. Neuroscience 26, 9673, equations 3 and 4 (triplets; their sets of parameters are in `published`).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.batch import OverBatch, outer, outer_each
from spikeloom.plasticity.bounds import Bounds, bounded
from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_positive
from spikeloom.plasticity.trace import Trace, decay_of, marked


@final
class STDPState(NamedTuple):
    """The four traces, with the spikes of the last step: r₁, r₂ [B, in], o₁, o₂ [B, out]."""

    r1: Tensor
    r2: Tensor
    o1: Tensor
    o2: Tensor


@final
@dataclass(frozen=True)
class STDP:
    """The parameters of (1)–(3): amounts per pair (A₂) and per triplet (A₃), time constants, step, bounds."""

    a_plus: float
    a_minus: float
    tau_plus_ms: float
    tau_minus_ms: float
    triplet_plus: float = 0.0  # A₃⁺
    triplet_minus: float = 0.0  # A₃⁻
    tau_x_ms: float = 100.0
    tau_y_ms: float = 100.0
    dt_ms: float = 1.0
    nearest: bool = False
    bounds: Bounds | None = None
    over_batch: OverBatch = "mean"

    def __post_init__(self) -> None:
        taus = {"tau_plus_ms": self.tau_plus_ms, "tau_minus_ms": self.tau_minus_ms, "tau_x_ms": self.tau_x_ms, "tau_y_ms": self.tau_y_ms}
        refuse_unless_positive("STDP", dt_ms=self.dt_ms, **taus)
        pairs = {"a_plus": self.a_plus, "a_minus": self.a_minus}
        refuse_unless_finite("STDP", triplet_plus=self.triplet_plus, triplet_minus=self.triplet_minus, **pairs)

    def init(self, batch: int, inputs: int, outputs: int, like: Tensor | None = None) -> STDPState:
        """No spikes so far; of the kind and on the device of `like` where it is given."""
        trace = Trace(self.tau_plus_ms, self.dt_ms)
        pre, post = (trace.init(batch, neurons, like) for neurons in (inputs, outputs))
        return STDPState(pre, pre, post, post)

    def step(
        self, state: STDPState, pre: Float[Tensor, "b i"], post: Float[Tensor, "b o"], weights: Float[Tensor, "o i"] | None = None
    ) -> tuple[Float[Tensor, "o i"], STDPState]:
        """The change of the weights [out, in], mean or sum over the batch, and the state after this step.

        Raises ConfigError for bounds without weights.
        """
        aged = self._aged(state)
        after, before = self._driven(aged, pre, post)
        up, down = outer(after, aged.r1, self.over_batch), outer(aged.o1, before, self.over_batch)
        return bounded(self.bounds, weights, up, down), self._marked(aged, pre, post)

    def step_each(
        self, state: STDPState, pre: Float[Tensor, "b i"], post: Float[Tensor, "b o"]
    ) -> tuple[Float[Tensor, "b o i"], STDPState]:
        """The change that each sample asks for, without bounds: what an eligibility trace gathers (`reward`)."""
        aged = self._aged(state)
        after, before = self._driven(aged, pre, post)
        return outer_each(after, aged.r1) - outer_each(aged.o1, before), self._marked(aged, pre, post)

    def _aged(self, state: STDPState) -> STDPState:
        taus = (self.tau_plus_ms, self.tau_x_ms, self.tau_minus_ms, self.tau_y_ms)
        return STDPState(*(decay_of(tau_ms, self.dt_ms) * trace for tau_ms, trace in zip(taus, state, strict=True)))

    def _driven(self, aged: STDPState, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies r₁ in (1) and o₁ in (2)."""
        after = post * (self.a_plus + self.triplet_plus * aged.o2) if self.triplet_plus else post * self.a_plus
        before = pre * (self.a_minus + self.triplet_minus * aged.r2) if self.triplet_minus else pre * self.a_minus
        return after, before

    def _marked(self, aged: STDPState, pre: Tensor, post: Tensor) -> STDPState:
        spikes = (pre, pre, post, post)
        return STDPState(*(marked(trace, each, self.nearest) for trace, each in zip(aged, spikes, strict=True)))
