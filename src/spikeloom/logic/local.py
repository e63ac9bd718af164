"""
Learning on the device: a layer of gates and a readout trained without backpropagation, from spikes and local traces, in whole numbers.

    t = sign(L)·1[|L| > edge]                          a weight, of a latent L of 8 bits                       (1)
    s_h = 1[c_h ≥ θ_h],  r_k = Σ_h t_kh·s_h + o_k      a count, a gate, a class                                (2)
    e_k = 1 for the strongest rival, −1 for the label  where the label does not lead by more than `margin`     (3)
    g_h = 1[|c_h − θ_h| ≤ window]·Σ_k f_hk·e_k         a gate close to its threshold hears the error           (4)
    L_hi −= ⌊g_h·s_i / 2^shift⌉,  θ_h += ⌊g_h / 2^(shift+1)⌉                                                   (5)
    L_kh −= ⌊e_k·s_h / 2^shift⌉,  o_k −= ⌊e_k / 2^shift⌉                                                       (6)
    a_h += 256·s_h − rate;  at |a_h| ≥ 256·patience:  θ_h += sign(a_h), a_h := 0                               (7)

What a weight needs is at the weight: its input's spike, its gate's count, and the error that is broadcast to all, of which a gate hears the
part that its own fixed wires f ∈ {−1, 1} bring. No weight is carried back. Each class begins with the readout t_kh = f_hk; where the
readout does not learn, that is what it keeps, and (4) is then the gradient of (3) by a surrogate. ⌊·⌉ rounds at random, so that the mean is
kept. Sums of a batch are taken before they are shifted; a batch of 1 is online learning.

Sources: (3) perceptron with a margin; (4) Lillicrap et al. 2016, feedback alignment, and Nøkland 2016, direct feedback; Frémaux & Gerstner
2016, three-factor rules; (7) homeostasis, Turrigiano 2008.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int, Int8, Int32
from torch import Tensor, nn

from spikeloom.errors import ConfigError, DataError
from spikeloom.logic.layers import Bits, Gate, Readout, TernaryLinear

LARGEST = 127
EXACT = 1 << 24
"""Counts below it are the same in float32."""
START = 40
"""Latents of gates begin evenly between −START and START, those of the readout at ±START."""


@final
@dataclass(frozen=True)
class LocalRule:
    """How it learns; a layer whose shift is None does not. `rate` is the share of samples a gate should fire for, in 256ths."""

    margin: int = 32
    window: int = 8
    shift: int | None = 3
    readout_shift: int | None = None
    edge: int = 16
    rate: int = 128
    patience: int = 8192

    def __post_init__(self) -> None:
        """Raises ConfigError for what is out of range."""
        least = {"margin": (self.margin, 0), "window": (self.window, 0), "patience": (self.patience, 1)}
        shifts = {"shift": (self.shift or 0, 0, 15), "readout_shift": (self.readout_shift or 0, 0, 15)}
        ranges = {name: (value, low, 1 << 20) for name, (value, low) in least.items()} | shifts
        for name, (value, low, high) in (ranges | {"edge": (self.edge, 0, START - 1), "rate": (self.rate, 1, 255)}).items():
            if not low <= value <= high:
                raise ConfigError(f"the local rule's {name} is out of range", found=value, allowed=f"{low} to {high}")

    def slower(self, by: int = 1) -> "LocalRule":
        """With shifts larger by so much: steps of half the size for each, and twice the patience, or homeostasis undoes what was learnt."""
        gates, classes = (None if shift is None else shift + by for shift in (self.shift, self.readout_shift))
        return replace(self, shift=gates, readout_shift=classes, patience=self.patience << by)


@final
@dataclass(frozen=True, eq=False)
class LocalState:
    """All that learning keeps: whole numbers. `feedback` is never changed."""

    latent: Int8[Tensor, "gates inputs"]
    thresholds: Int32[Tensor, " gates"]
    activity: Int32[Tensor, " gates"]
    readout: Int8[Tensor, "classes gates"]
    offsets: Int32[Tensor, " classes"]
    feedback: Int8[Tensor, "gates classes"]


def init(inputs: int, gates: int, classes: int, generator: torch.Generator) -> LocalState:
    """A state that knows nothing. Raises ConfigError for sizes under 1, or whose counts floating point would round (2^24)."""
    if not 1 <= min(inputs, gates, classes) <= max(inputs, gates, classes) < EXACT:
        allowed = f"1 to {EXACT - 1:,} each"
        raise ConfigError("a network that learns locally cannot have these sizes", found=(inputs, gates, classes), allowed=allowed)
    latent = torch.randint(-START, START + 1, (gates, inputs), generator=generator, dtype=torch.int8)
    feedback = 2 * torch.randint(0, 2, (gates, classes), generator=generator, dtype=torch.int8) - 1
    none = torch.zeros(gates, dtype=torch.int32)
    return LocalState(latent, none, none, START * feedback.T.contiguous(), torch.zeros(classes, dtype=torch.int32), feedback)


def step(
    state: LocalState, rule: LocalRule, x: Float[Tensor, "b inputs"], y: Int[Tensor, " b"], generator: torch.Generator
) -> tuple[LocalState, Int[Tensor, " b"]]:
    """The state after a batch of spikes (zeros and ones) and labels, and what the network answered before it learnt from them.

    Raises DataError for inputs that are no spikes or of another number, and for labels that are no classes.
    """
    _check(state, x, y)
    counts = _product(x, _ternary(state.latent, rule.edge).T)
    spikes = (counts >= state.thresholds).float()
    found = _product(spikes, _ternary(state.readout, rule.edge).T) + state.offsets
    wrong, error = _errors(found, y, rule.margin)
    state = _settled(state, rule, spikes)
    if len(wrong):
        near = (counts[wrong] - state.thresholds).abs() <= rule.window  # (4)
        heard = _product(error, state.feedback.T.float()) * near
        state = _learnt(state, rule, (x[wrong], spikes[wrong]), (heard, error), generator)
    return state, found.argmax(1)


def _check(state: LocalState, x: Tensor, y: Tensor) -> None:
    inputs, classes = state.latent.shape[1], state.readout.shape[0]
    if x.shape[1] != inputs:
        raise DataError("inputs of another number than the network's", found=x.shape[1], allowed=inputs)
    if not bool(((x == 0) | (x == 1)).all()):
        raise DataError("inputs that are no spikes", found=f"{float(x.min()):g} to {float(x.max()):g}", allowed="0 and 1")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise DataError("labels that are no classes", found=f"{int(y.min())} to {int(y.max())}", allowed=f"0 to {classes - 1}")


def _ternary(latent: Tensor, edge: int) -> Tensor:
    """(1)"""
    return (latent > edge).float() - (latent < -edge).float()


def _product(a: Tensor, b: Tensor) -> Int32[Tensor, "m n"]:
    """Counts: sums of zeros, ones and minus ones, which floating point holds as they are up to 2^24."""
    return (a.float() @ b).int()


def _errors(found: Tensor, y: Tensor, margin: int) -> tuple[Tensor, Tensor]:
    """The samples that teach, and of each the error of every class (3)."""
    rows = torch.arange(len(y))
    rivals = found.clone()
    rivals[rows, y] = torch.iinfo(torch.int32).min
    best, rival = rivals.max(1)
    wrong = (best > found[rows, y] - margin - 1).nonzero().flatten()
    error = torch.zeros(len(wrong), found.shape[1])
    error[rows[: len(wrong)], rival[wrong]] = 1
    error[rows[: len(wrong)], y[wrong]] = -1
    return wrong, error


def _learnt(
    state: LocalState, rule: LocalRule, spikes: tuple[Tensor, Tensor], told: tuple[Tensor, Tensor], g: torch.Generator
) -> LocalState:
    """(5) and (6), for the samples that teach: spikes before and after the gates, what gates and classes are told."""
    if rule.shift is not None:
        latent = _moved(state.latent, _product(told[0].T, spikes[0]), rule.shift, g)
        thresholds = state.thresholds + _shifted(told[0].sum(0).int(), rule.shift + 1, g)
        state = replace(state, latent=latent, thresholds=thresholds)
    if rule.readout_shift is not None:
        readout = _moved(state.readout, _product(told[1].T, spikes[1]), rule.readout_shift, g)
        offsets = state.offsets - _shifted(told[1].sum(0).int(), rule.readout_shift, g)
        state = replace(state, readout=readout, offsets=offsets)
    return state


def _moved(latent: Tensor, by: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    return (latent - _shifted(by, shift, generator)).clamp_(-LARGEST, LARGEST).to(torch.int8)


def _shifted(value: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """value / 2^shift, rounded at random so that its mean is that."""
    return (value + torch.randint(0, 1 << shift, value.shape, generator=generator, dtype=torch.int32)) >> shift


def _settled(state: LocalState, rule: LocalRule, spikes: Tensor) -> LocalState:
    """(7)"""
    if rule.shift is None:
        return state
    activity = state.activity + 256 * spikes.sum(0).int() - rule.rate * len(spikes)
    due = activity.abs() >= 256 * rule.patience
    return replace(
        state, thresholds=state.thresholds + activity.sign() * due, activity=torch.where(due, torch.zeros_like(activity), activity)
    )


def as_network(state: LocalState, rule: LocalRule) -> nn.Sequential:
    """The learnt network in the layers that `freeze` takes, of flattened inputs cut to bits at a half; the same answers."""
    hidden, readout = _with(state.latent, rule.edge), _with(state.readout, rule.edge)
    gate, classes = Gate(len(state.thresholds)), Readout(len(state.offsets))
    gate.mean.copy_(state.thresholds)
    classes.mean.copy_(-state.offsets)
    return nn.Sequential(nn.Flatten(), Bits(), hidden, gate, readout, classes).eval()


def _with(latent: Tensor, edge: int) -> TernaryLinear:
    made = TernaryLinear(latent.shape[1], latent.shape[0])
    made.latent.data.copy_(_ternary(latent, edge))
    return made
