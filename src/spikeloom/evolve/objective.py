"""
The objective: how far a network's answers are from the ANN's, or from the labels, and what its spikes cost beside.

    kl      Σ p·log(p/q) over the last axis, p the ANN's softmax, q the network's; mean over samples (of texts over tokens)   (1)
    mse     E[(a − o)²] / Var[a]                                                                                            (2)
    task    −log q(label); of texts −log q(next token)                                                                      (3)

    value = divergence + λ·energy / energy of the start                                                                     (4)

Infeasible candidates rank after all feasible ones, by how much they leave what the hardware allows (Deb 2000).

Source: (1) Hinton et al. 2015, arXiv:1503.02531; feasibility rules: Deb, Comput. Methods Appl. Mech. Eng. 186 (2000).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Program

OBJECTIVES = ("auto", "kl", "mse", "task")


@final
@dataclass(frozen=True)
class Outcome:
    """What one evaluation found: means over all samples. `accuracy` is the share of answers that are the ANN's (or the label's); where
    there are no classes, 1 − (2). `energy_pj` per inference; `violation` 0 where the hardware's rates are kept; `losses` of
    the single samples, whose mean the divergence is."""

    divergence: float
    accuracy: float
    energy_pj: float
    violation: float = 0.0
    losses: tuple[float, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether the hardware's limits are kept and the divergence is a number."""
        return self.violation == 0.0 and math.isfinite(self.divergence)

    def to_json(self) -> dict[str, float]:
        """The means as JSON, without the single samples."""
        return {name: getattr(self, name) for name in ("divergence", "accuracy", "energy_pj", "violation")}


def value_of(outcome: Outcome, weight: float, energy_pj: float) -> float:
    """(4); infinite where the divergence is no number."""
    if not math.isfinite(outcome.divergence):
        return math.inf
    return outcome.divergence + (weight * outcome.energy_pj / max(energy_pj, 1e-30) if weight else 0.0)


def ranked(outcomes: Iterable[Outcome], weight: float, energy_pj: float) -> list[tuple[float, float]]:
    """A key for each outcome by which they sort: feasible ones by value, then the others by violation."""
    return [(0.0 if each.feasible else max(each.violation, 1e-30), value_of(each, weight, energy_pj)) for each in outcomes]


def better(new: Outcome, old: Outcome, weight: float, energy_pj: float, errors: float) -> bool:
    """Whether a candidate is better than another by more than so many standard errors of the paired difference of their samples.
    Feasibility goes before."""
    if not (new.feasible and old.feasible):
        return ranked([new], weight, energy_pj) < ranked([old], weight, energy_pj)
    difference = value_of(new, weight, energy_pj) - value_of(old, weight, energy_pj)
    pairs = np.subtract(new.losses, old.losses)
    error = float(pairs.std(ddof=1)) / math.sqrt(len(pairs)) if len(pairs) > 1 else 0.0
    return difference + errors * error < 0.0


def chosen(objective: str, program: Program, outputs: Float[Tensor, "n ..."], labelled: bool) -> str:
    """The objective that `auto` comes to for outputs like these. Raises ConfigError for an unknown one, DataError without labels."""
    if objective not in OBJECTIVES:
        raise ConfigError("unknown objective", found=objective, allowed=", ".join(OBJECTIVES))
    if objective == "task" and not (labelled or writes_text(program)):
        raise DataError(
            "the task's loss needs labels",
            found="calibration batches of inputs alone",
            allowed="batches of inputs and labels [n]",
            todo="give a labelled data set, or use the objective kl, which needs none",
        )
    if objective != "auto":
        return objective
    classes = outputs.ndim == 2 and outputs.shape[1] > 1 and not gives_numbers(program)
    return "kl" if classes or writes_text(program) else "mse"


def gives_numbers(program: Program) -> bool:
    """Whether a program's outputs are numbers to be met, not scores to be ranked: embeddings, or continuous actions."""
    told = (program.settings.get("policy") or {}).get("action") or {}
    return program.settings.get("task") == "feature-extraction" or told.get("kind") == "continuous"


def writes_text(program: Program) -> bool:
    """Whether a program gives next-token distributions."""
    return program.settings.get("task") == "text-generation"


def losses(objective: str, outputs: Float[Tensor, "n ..."], target: Tensor) -> Float[Tensor, " n"]:
    """(1) to (3) of every sample, a mean over its tokens where it has several; `target` are the ANN's outputs, or labels ([n], or the
    tokens themselves [n, l]). (2) is not yet divided by the variance."""
    if objective == "mse":
        return (outputs - target).square().flatten(1).mean(1)
    if objective == "kl":
        p, q = target.log_softmax(-1), outputs.log_softmax(-1)
        return (p.exp() * (p - q)).sum(-1).flatten(1).mean(1) if outputs.ndim > 2 else (p.exp() * (p - q)).sum(-1)
    if outputs.ndim > 2:  # the next token of each but the last
        chosen = outputs[:, :-1].log_softmax(-1).gather(-1, target[:, 1:, None])[..., 0]
        return -chosen.mean(1)
    return -outputs.log_softmax(-1).gather(-1, target[:, None])[:, 0]


def hits(objective: str, outputs: Float[Tensor, "n ..."], target: Tensor) -> Float[Tensor, " n"]:
    """The share of each sample's answers that are the target's; of (2) the negative error, which `accuracy_of` makes a share of."""
    if objective == "mse":
        return -losses(objective, outputs, target)
    if objective == "kl":
        same = outputs.argmax(-1) == target.argmax(-1)
    elif outputs.ndim > 2:
        same = outputs[:, :-1].argmax(-1) == target[:, 1:]
    else:
        same = outputs.argmax(-1) == target
    return same.float().flatten(1).mean(1) if same.ndim > 1 else same.float()
