"""
Plasticity: rules by which weights change from what is at the synapse, as pure functions (floor 2, beside `neuron` and `kernels`).

A rule is a frozen dataclass of its parameters, with `init(…) → state` and `step(state, …) → (change of the weights, state)`. Spikes are
[B, in] and [B, out], weights [out, in] as in `torch.nn.Linear`; over the batch the change is the mean, or the sum. Nothing given is written
to, but by functions whose names end in `_`. A spike of k levels counts as k spikes at one moment.

    trace         exponential traces, all-to-all or nearest: `Trace`, `decay_of`, `half_life_ms`
    stdp          spike timing, pairs and triplets: `STDP`; `published` has sets of parameters by name
    bounds        additive, multiplicative and in between: `Bounds`
    bcm           the sliding threshold: `BCM`; `oja`
    eligibility   causal traces: `Eligibility`
    reward        reward-modulated STDP, with dopamine or without: `RewardSTDP`
    three_factor  eligibility × a learning signal (e-prop, actor-critic): `ThreeFactor`, `psi_inside`, `feedback`
    window        the same over K steps by one matrix product: `windowed`, `Window`
    homeostasis   synaptic scaling and thresholds: `Homeostasis`
    step_size     each synapse's own step, weights of a norm: `StepSize`, `normalised`
    ascent        many such steps of all weights, in place: `Ascent`
    rounding      changes of weights on integer grids: `moved_at_random`, `changed_at_random`, `Residual`
    events        the same from lists of events: `run_stdp`, `run_eligibility`, `run_reward`, `run_three_factor` (`event_loops`: numba)
    curves        textbook curves of all of these
"""

from spikeloom.plasticity.ascent import Ascent
from spikeloom.plasticity.bcm import BCM, oja
from spikeloom.plasticity.bounds import Bounds, additive, interpolating, multiplicative
from spikeloom.plasticity.eligibility import Eligibility, EligibilityState
from spikeloom.plasticity.events import (
    EligibilityMemory,
    Events,
    RewardMemory,
    STDPMemory,
    events,
    events_of,
    run_eligibility,
    run_reward,
    run_stdp,
)
from spikeloom.plasticity.homeostasis import Homeostasis
from spikeloom.plasticity.published import HIPPOCAMPUS, SJOSTROM_2001, SONG_2000, VISUAL_CORTEX, Pairing
from spikeloom.plasticity.reward import RewardState, RewardSTDP
from spikeloom.plasticity.rounding import (
    Residual,
    Residue,
    changed_at_random,
    in_steps,
    moved_at_random,
    round_at_random,
    with_codes,
)
from spikeloom.plasticity.stdp import STDP, STDPState
from spikeloom.plasticity.step_size import StepSize, StepSizeState, normalised
from spikeloom.plasticity.three_factor import ThreeFactor, ThreeFactorState, feedback, psi_inside
from spikeloom.plasticity.three_factor_events import ThreeFactorMemory, run_three_factor
from spikeloom.plasticity.trace import Trace, decay_of, half_life_ms
from spikeloom.plasticity.window import Window, WindowState, credits_of, windowed

__all__ = [
    "BCM",
    "HIPPOCAMPUS",
    "SJOSTROM_2001",
    "SONG_2000",
    "STDP",
    "VISUAL_CORTEX",
    "Ascent",
    "Bounds",
    "Eligibility",
    "EligibilityMemory",
    "EligibilityState",
    "Events",
    "Homeostasis",
    "Pairing",
    "Residual",
    "Residue",
    "RewardMemory",
    "RewardSTDP",
    "RewardState",
    "STDPMemory",
    "STDPState",
    "StepSize",
    "StepSizeState",
    "ThreeFactor",
    "ThreeFactorMemory",
    "ThreeFactorState",
    "Trace",
    "Window",
    "WindowState",
    "additive",
    "changed_at_random",
    "credits_of",
    "decay_of",
    "events",
    "events_of",
    "feedback",
    "half_life_ms",
    "in_steps",
    "interpolating",
    "moved_at_random",
    "multiplicative",
    "normalised",
    "oja",
    "psi_inside",
    "round_at_random",
    "run_eligibility",
    "run_reward",
    "run_stdp",
    "run_three_factor",
    "windowed",
    "with_codes",
]
