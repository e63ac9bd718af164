"""
Evaluation: the SNN beside the ANN and the control, on the same samples in the same run.

    accuracy     share of answers that are right
    agreement    share of answers that SNN and ANN have in common
    McNemar      exact two-sided test on the answers that only one of SNN and control gets right

What is asked and measured depends on the task: `pictures`, `language`, `embeddings` each have a tally of their own. Numbers are null,
with the reason, where labels or a program are missing.

Source: McNemar 1947, exact binomial form; DESIGN.md §5.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from scipy.stats import binomtest
from torch import Tensor

from spikeloom.errors import DataError

Batch = tuple[tuple[Tensor, ...], Tensor | None]
"""The inputs of a network [B, …]; and of pictures the labels [B], of texts 1 where a token is real and 0 where it is padding [B, L]."""

NETWORKS = ("ann", "snn", "control")


@final
@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found: the task's own `measures` in the form of metrics.json, and how they go over T. `answers` are what each
    network said, and the right `labels`, where there are any."""

    measures: Mapping[str, Any]
    curve: tuple[dict[str, Any], ...]
    seconds: Mapping[str, float | None]
    timesteps: int
    samples: int
    answers: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    mean_timesteps: float | None = None


class Tally(ABC):
    """What a task keeps of its networks' outputs, batch after batch."""

    @abstractmethod
    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network."""

    @abstractmethod
    def evaluation(self) -> Evaluation:
        """What was found. Raises DataError where there was no batch."""


def evaluate(tally: Tally, batches: Iterable[Batch], progress: Callable[[int], None]) -> Evaluation:
    """Everything that a tally finds over all batches; `progress` hears how many samples each had."""
    with torch.inference_mode():
        for inputs, labels in batches:
            tally.add(inputs, labels)
            progress(inputs[0].shape[0])
    return tally.evaluation()


def check_some(parts: object) -> None:
    """Raises DataError where no batch came."""
    if not parts:
        raise DataError("there is nothing to evaluate on", found="an empty data set")


def accuracy(answers: Mapping[str, Tensor], name: str) -> float | None:
    """The share of right answers of a network; None without labels or without the network."""
    if name not in answers or "labels" not in answers:
        return None
    return share(answers[name] == answers["labels"])


def agreement(answers: Mapping[str, Tensor], name: str = "snn") -> float | None:
    """The share of answers that a network has in common with the ANN; None without either."""
    return share(answers[name] == answers["ann"]) if {name, "ann"} <= set(answers) else None


def mcnemar(answers: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The paired test that SNN and control are right equally often; None without labels or control."""
    if "control" not in answers or "labels" not in answers:
        return None
    snn, control = (answers[name] == answers["labels"] for name in ("snn", "control"))
    only_snn, only_control = int((snn & ~control).sum()), int((control & ~snn).sum())
    return {"snn_only_right": only_snn, "control_only_right": only_control, "p": binomial(only_snn, only_control)}


def sign_test(snn: Tensor, control: Tensor, unit: str) -> dict[str, Any]:
    """The paired test that SNN and control are worse equally often; both [n] say how bad each was on every sample, ties aside."""
    better, worse = int((snn < control).sum()), int((snn > control).sum())
    return {"unit": unit, "snn_better": better, "control_better": worse, "p": binomial(better, worse)}


def binomial(first: int, second: int) -> float:
    """The exact two-sided p that `first` of both are chance, each as likely as the other."""
    return float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0


def share(said: Tensor) -> float:
    """The share of what is true."""
    return float(said.float().mean())


def finite(value: float) -> float | None:
    """The number itself where JSON has a word for it; None for NaN and infinity."""
    return value if abs(value) < float("inf") else None
