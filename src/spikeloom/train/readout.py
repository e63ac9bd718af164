"""
The readout learns: a delta rule at the synapses of the last layer, from the error of each output neuron and the spikes that reach it.

    e_c = 1[c = label] - softmax(z)_c                                                                                    (1)
    w_cj ← w_cj + η_c·M·e_c·k_j                                                                                          (2)
    k = x/⟨‖x‖²⟩                        plain: each synapse needs its own spikes x_j and the error of its neuron alone      (3)
    k = P·x/(1 + xᵀ·P·x)                shielded: spikes pass a fixed lateral layer P = (n·⟨x·xᵀ⟩ + ε)⁻¹ first              (4)

M is the calibrated margin, the mean lead of the best output over the second, so that η = 1 moves an output by about what it takes to
change its mind; η_c is η, for neurons that came in the stream `young` times that. (4) weakens what calibration data use most, so that
what they are answered changes least: of all changes that have the same effect on x it is the one with the least squared effect on them, n
samples of them against this one. P is found once, at calibration; in itself it is not local to a synapse but to the layer's inputs, which
it decorrelates. The bias is the synapse of a neuron that always fires. Samples with labels may be kept, as spikes, and shown again
(`replay`): that is memory beside the rule, named as such.

Sources: Widrow & Hoff 1960; orthogonal weight modification: Zeng et al. 2019, doi:10.1038/s42256-019-0080-x, arXiv:1810.01256;
decorrelating lateral layers: Földiák 1990, doi:10.1007/BF02331346.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from spikeloom.errors import ConfigError, NumericError

RIDGE = 1e-3
"""ε of (4), as a share of the mean squared length of what reaches the layer."""


@final
@dataclass(frozen=True)
class DeltaRule:
    """η of (2); whether (4) or (3); n of (4) as `strength`; how many kept samples are shown again after each new one, of at most `kept`;
    how many `classes` the readout may grow to (None: it keeps its own); and how much faster `young` neurons learn."""

    rate: float = 0.5
    shielded: bool = True
    strength: float = 8.0
    replay: int = 8
    kept: int = 512
    classes: int | None = None
    young: float = 6.0

    def check(self) -> None:
        """Raises ConfigError for options out of range."""
        checks: tuple[tuple[str, bool, str], ...] = (
            ("rate", 0 < self.rate <= 10, "above 0, up to 10"),
            ("strength", self.strength > 0, "above 0"),
            ("replay", self.replay >= 0, "0 or more"),
            ("kept", self.kept >= 1, "1 or more"),
            ("young", 1 <= self.young <= 100, "1 to 100"),
            ("classes", self.classes is None or self.classes >= 2, "2 or more, or none"),
        )
        for key, holds, allowed in checks:
            if not holds:
                raise ConfigError(f"readout.{key} cannot be used", found=getattr(self, key), allowed=allowed)


class Readout(NamedTuple):
    """A learning readout: weights with the bias last [C, F + 1], what the neuron that always fires sends, M, the level of a class that is
    not meant, how many classes it began with, and P, or in its place (3) as one number."""

    weight: Float[Tensor, "c f1"]
    constant: float
    margin: float
    off: float
    grown_up: int
    filter: Float[Tensor, "f1 f1"] | Float[Tensor, ""]


def readout_of(weight: Float[Tensor, "c f"], bias: Float[Tensor, " c"], calm: Float[Tensor, "n f"], rule: DeltaRule) -> Readout:
    """The readout as it is, and what the rule needs to know of the spikes that reach it at calibration. NumericError where none do."""
    length = float(calm.square().sum(1).mean())
    if not length > 0:
        raise NumericError("no spikes reach the readout at calibration", found=f"{len(calm)} samples", todo="calibrate the thresholds anew")
    constant = length**0.5
    x, full = with_constant(calm, constant), torch.cat([weight, bias[:, None] / constant], 1)
    best = (x @ full.T).sort(1, descending=True).values
    margin, off = float((best[:, 0] - best[:, 1]).mean()), float(best[:, 1:].mean())
    if not rule.shielded:
        return Readout(full, constant, margin, off, len(weight), torch.tensor(1 / (2 * length)))
    moment = rule.strength * (x.T.double() @ x.double()) / len(x)
    shield = torch.linalg.inv(moment + RIDGE * 2 * length * torch.eye(len(moment), dtype=moment.dtype)).float().contiguous()
    return Readout(full, constant, margin, off, len(weight), shield)


def with_constant(x: Float[Tensor, "b f"], constant: float) -> Float[Tensor, "b f1"]:
    """Spikes with those of the neuron that always fires."""
    return torch.cat([x, x.new_full((len(x), 1), constant)], 1)


def weights_in(readout: Readout) -> tuple[Float[Tensor, "c f"], Float[Tensor, " c"]]:
    """Weight and bias as a layer takes them."""
    return readout.weight[:, :-1].contiguous(), readout.weight[:, -1] * readout.constant


def learned(readout: Readout, x: Float[Tensor, " f1"], label: int, rule: DeltaRule) -> Readout:
    """(1), (2) for one sample: spikes with the constant, and its class. Raises NumericError where weights leave what floats can hold."""
    z = readout.weight @ x
    error = F.one_hot(torch.tensor(label), len(z)).to(z) - z.softmax(0)
    error[readout.grown_up :] *= rule.young
    weight = readout.weight + rule.rate * readout.margin * torch.outer(error, filtered(readout.filter, x))
    if not bool(torch.isfinite(weight).all()):
        raise NumericError("the readout's weights are not finite any more", found=f"rate {rule.rate}", todo="lower readout.rate")
    return readout._replace(weight=weight)


def filtered(how: Tensor, x: Float[Tensor, " f1"]) -> Float[Tensor, " f1"]:
    """k of (3), or of (4)."""
    if how.ndim == 0:
        return x * how
    passed = how @ x
    return passed / (1 + x @ passed)


def grown(readout: Readout, classes: int) -> Readout:
    """The readout with so many outputs: new ones are silent synapses and a bias that gives what a class that is not meant gives."""
    new = readout.weight.new_zeros(classes - len(readout.weight), readout.weight.shape[1])
    new[:, -1] = readout.off / readout.constant
    return readout._replace(weight=torch.cat([readout.weight, new]))


class Memory(NamedTuple):
    """Samples with labels that are kept, as the spikes that reached the readout with the constant, and how many labels were seen in all."""

    x: Float[Tensor, "n f1"]
    y: Int64[Tensor, " n"]
    labels: int


def taught(
    readout: Readout, memory: Memory, x: Float[Tensor, " f1"], label: int, rule: DeltaRule, seed: int
) -> tuple[Readout, Memory, list[Tensor]]:
    """After one sample with a label, and the kept ones shown after it: the readout, what is kept, and all that was shown."""
    shown = [x]
    if label >= len(readout.weight):
        readout = grown(readout, label + 1)
    readout = learned(readout, x, label, rule)
    if not rule.replay:
        return readout, memory._replace(labels=memory.labels + 1), shown
    memory = remembered(memory, x, label, rule.kept, seed)
    for place in drawn(len(memory.y), rule.replay, (seed, memory.labels, 0)):
        readout = learned(readout, memory.x[place], int(memory.y[place]), rule)
        shown.append(memory.x[place])
    return readout, memory, shown


def remembered(memory: Memory, x: Float[Tensor, " f1"], label: int, most: int, seed: int) -> Memory:
    """The sample is kept; where there is no room, in the place of another, or not, so that all are as likely to be kept (reservoir)."""
    labels, y = memory.labels + 1, torch.tensor([label])
    if len(memory.y) < most:
        return Memory(torch.cat([memory.x, x[None]]), torch.cat([memory.y, y]), labels)
    place = drawn(labels, 1, (seed, labels, 1))[0]
    if place >= most:
        return memory._replace(labels=labels)
    rows = torch.tensor([place])
    return Memory(memory.x.index_copy(0, rows, x[None]), memory.y.index_copy(0, rows, y), labels)


def drawn(below: int, count: int, seed: tuple[int, int, int]) -> list[int]:
    """So many numbers below another: a function of the seed, the number of labels seen, and what they are for."""
    generator = np.random.default_rng(seed)
    return generator.integers(below, size=count).tolist()
