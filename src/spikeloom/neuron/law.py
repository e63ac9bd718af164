"""
The neuron law (DESIGN.md §4), literally, for any staircase. Every neuron is a choice of its parameters.

    h[t] = a·v[t-1] + i[t] - l                              a = exp(-Δt/τ_mem), 1 for IF; l subtractive leak    (1)
    o[t] = alpha_0 + Σ_k alpha_k·1[h[t] ≥ θ_k]              a staircase; thresholds of either sign              (2)
    v[t] = h[t] - beta_0 - Σ_k beta_k·1[h[t] ≥ θ_k]         reset by subtraction                                (3)
           h[t] where nothing fired, else 0                 reset to zero                                       (3')

beta_0 lets a signed staircase take back exactly what it emits (beta = alpha, beta_0 = alpha_0). "Nothing fired" means that h lies in the
cell that holds 0: between the highest threshold ≤ 0 and the lowest > 0.

A gated neuron takes back what it sent too early, and no more: o'[t] = max(o[t], -Σ past o'), v[t] = h[t] - o'[t]                (4)

Sources: IF and LIF with reset by subtraction: Rueckauer et al., Frontiers in Neuroscience 2017. Scale-and-Fire: arXiv 2510.23383.
Multi-threshold cascade: H-MT, AAAI 2026. Dual threshold: ECL, arXiv 2506.01968; its gate on past spikes is `gated_step`.
"""

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError

Reset = Literal["subtract", "zero", "gated"]
"""How a membrane is reset; "gated" is by subtraction, with spikes below 0 as far as they take back what was sent (4)."""
RESETS: tuple[Reset, ...] = ("subtract", "zero")


@final
@dataclass(frozen=True, eq=False)
class Law:
    """The parameters of equations (1)-(3): K thresholds, ascending, and what crossing each adds to the output and takes from v."""

    thresholds: Float[Tensor, " k"]  # θ
    alpha: Float[Tensor, " k"]
    beta: Float[Tensor, " k"]
    alpha_0: float = 0.0
    beta_0: float = 0.0
    decay: float = 1.0  # a, per step
    leak: float = 0.0  # l, per step
    reset: Reset = "subtract"
    initial: float = 0.0  # v[0]

    def __post_init__(self) -> None:
        if self.thresholds.ndim != 1 or self.thresholds.numel() == 0:
            raise ConfigError("a neuron needs a list of thresholds", found=tuple(self.thresholds.shape), allowed="[K], K >= 1")
        if self.alpha.shape != self.thresholds.shape or self.beta.shape != self.thresholds.shape:
            sizes = (self.thresholds.numel(), self.alpha.numel(), self.beta.numel())
            raise ConfigError("a neuron needs one height and one reset amount per threshold", found=sizes, allowed="K of each")
        if not bool(torch.all(self.thresholds.diff() > 0)):
            raise ConfigError("a neuron's thresholds must ascend", found=self.thresholds.tolist())
        if not 0.0 <= self.decay <= 1.0:
            raise ConfigError("a membrane must not grow by itself", found=self.decay, allowed="0 <= decay <= 1")
        if self.reset not in RESETS:
            raise ConfigError("unknown reset", found=self.reset, allowed=RESETS)


def step(v: Float[Tensor, " *any"], i: Float[Tensor, " *any"], law: Law) -> tuple[Float[Tensor, " *any"], Float[Tensor, " *any"]]:
    """One time step of any staircase in O(log K) per neuron: (membrane v[t-1], input i[t]) → (output o[t], membrane v[t])."""
    h = law.decay * v + i - law.leak  # (1)
    crossed = torch.bucketize(h, law.thresholds.to(h.dtype), right=True)  # how many thresholds h has reached
    o = _sums(law.alpha_0, law.alpha, h.dtype)[crossed]  # (2)
    if law.reset == "subtract":
        return o, h - _sums(law.beta_0, law.beta, h.dtype)[crossed]  # (3)
    return o, torch.where(crossed == (law.thresholds <= 0).sum(), h, 0.0)  # (3')


def gated_step(
    v: Float[Tensor, " *any"], sent: Float[Tensor, " *any"], i: Float[Tensor, " *any"], law: Law
) -> tuple[Float[Tensor, " *any"], Float[Tensor, " *any"], Float[Tensor, " *any"]]:
    """One step of a gated neuron (4), whose law has spikes of both signs: (membrane, all it sent so far, input) → (output, membrane, all
    it sent)."""
    h = law.decay * v + i - law.leak
    o = torch.maximum(step(v, i, law)[0], -sent)
    return o, h - o, sent + o


def _sums(base: float, increments: Float[Tensor, " k"], dtype: torch.dtype) -> Float[Tensor, " k1"]:
    """What has been added up after 0, 1, … K thresholds (summed in float64)."""
    start = torch.full((1,), base, dtype=torch.float64, device=increments.device)
    return torch.cat([start, increments.double()]).cumsum(0).to(dtype)


def uniform_staircase(
    height: float,
    levels: int,
    negative_levels: int = 0,
    *,
    decay: float = 1.0,
    leak: float = 0.0,
    reset: Reset = "subtract",
    initial: float | None = None,
) -> Law:
    """The identity staircase height·clip(floor(h/height), -negative_levels, levels); v[0] is half a step unless given."""
    if not (height > 0 and math.isfinite(height)):
        raise ConfigError("a threshold must be positive and finite", found=height)
    if levels < 0 or negative_levels < 0 or levels + negative_levels < 1:
        raise ConfigError("a staircase needs at least one step", found=(levels, negative_levels), allowed="numbers >= 0, one of them >= 1")
    thresholds = height * torch.arange(1 - negative_levels, levels + 1, dtype=torch.float64)
    heights = torch.full_like(thresholds, height)
    base = -height * negative_levels
    start = height / 2 if initial is None else initial
    return Law(thresholds, heights, heights, base, base, decay, leak, reset, start)


def if_(theta: float, *, reset: Reset = "subtract", initial: float | None = None) -> Law:
    """Integrate-and-fire: one spike of height theta per step where h ≥ theta; v[0] = theta/2 unless given."""
    return uniform_staircase(theta, 1, reset=reset, initial=initial)


def lif(
    theta: float, tau_mem_ms: float, dt_ms: float, leak: float = 0.0, *, reset: Reset = "subtract", initial: float | None = None
) -> Law:
    """Leaky integrate-and-fire: IF whose membrane keeps a = exp(-dt/τ_mem) of itself and loses `leak` at each step."""
    if not (tau_mem_ms > 0 and dt_ms > 0):
        raise ConfigError("a time constant and a time step must be positive", found=f"tau_mem_ms={tau_mem_ms}, dt_ms={dt_ms}")
    return uniform_staircase(theta, 1, decay=math.exp(-dt_ms / tau_mem_ms), leak=leak, reset=reset, initial=initial)


def sfn(scale: float, levels: int, negative_levels: int = 0, *, initial: float | None = None) -> Law:
    """Scale-and-Fire: θ_M·clip(floor(h/θ_M), -negative_levels, levels) with θ_M = `scale`, the height of one level (not of all)."""
    return uniform_staircase(scale, levels, negative_levels, initial=initial)


def multi_threshold(theta: float, n: int, *, initial: float | None = None) -> Law:
    """The cascade m_{i+1} = m_i - λ_i·1[m_i ≥ λ_i], λ_i = theta/2^(i-1), i = 1…n: the uniform staircase of 2^n - 1 levels of λ_n."""
    if n < 1:
        raise ConfigError("a multi-threshold neuron needs at least one threshold", found=n, allowed="n >= 1")
    return uniform_staircase(theta / 2 ** (n - 1), 2**n - 1, initial=initial)


def dual_threshold(theta: float, theta_negative: float, *, initial: float | None = None) -> Law:
    """A spike of +theta where h ≥ theta, of -theta where h < theta_negative < 0, and what was emitted is taken back."""
    if not theta_negative < 0 < theta:
        raise ConfigError("a dual-threshold neuron needs theta_negative < 0 < theta", found=(theta_negative, theta))
    heights = torch.full((2,), theta, dtype=torch.float64)
    thresholds = torch.tensor([theta_negative, theta], dtype=torch.float64)
    return Law(thresholds, heights, heights, -theta, -theta, initial=theta / 2 if initial is None else initial)


def function_staircase(thresholds: Float[Tensor, " k"], values: Float[Tensor, " k1"]) -> Law:
    """The piecewise constant function with values[k] after k thresholds. It takes nothing back: beta = 0, v[0] = 0; meant for T=1."""
    if values.numel() != thresholds.numel() + 1:
        raise ConfigError("a function staircase has one value more than thresholds", found=(thresholds.numel(), values.numel()))
    return Law(thresholds, values.diff(), torch.zeros_like(thresholds), alpha_0=float(values[0]))
