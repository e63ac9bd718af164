"""
Evaluation: the SNN beside the ANN and the control, on the same samples in the same run.

    agreement   share of samples on which SNN and ANN give the same answer
    McNemar     exact two-sided test on the samples that only one of SNN and control gets right

Every step that runs is counted in T. Accuracies are null, with the reason, where labels or a program are missing.

Source: McNemar 1947, exact binomial form; DESIGN.md §5.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from scipy.stats import binomtest
from torch import Tensor

from spikeloom.errors import DataError
from spikeloom.simulate import SpikingModel, executable, primary, repeated

Batch = tuple[tuple[Tensor, ...], Tensor | None]


@final
@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found. `answers` are class indices [samples] of each network and the labels, where there are any."""

    answers: Mapping[str, Tensor]
    curve: tuple[dict[str, Any], ...]
    seconds: Mapping[str, float | None]
    timesteps: int
    samples: int
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    mean_timesteps: float | None = None

    def accuracy(self, name: str) -> float | None:
        """The share of samples a network gets right; None without labels or without the network."""
        if name not in self.answers or "labels" not in self.answers:
            return None
        return float((self.answers[name] == self.answers["labels"]).float().mean())

    @property
    def agreement(self) -> float | None:
        """The share of samples on which SNN and ANN agree."""
        return float((self.answers["snn"] == self.answers["ann"]).float().mean()) if "ann" in self.answers else None

    def mcnemar(self) -> dict[str, Any] | None:
        """The paired test of SNN against control."""
        if "control" not in self.answers or "labels" not in self.answers:
            return None
        snn, control = (self.answers[name] == self.answers["labels"] for name in ("snn", "control"))
        return mcnemar(int((snn & ~control).sum()), int((control & ~snn).sum()))


def mcnemar(only_first: int, only_second: int) -> dict[str, Any]:
    """The exact two-sided test that two networks err equally often."""
    both = only_first + only_second
    p = float(binomtest(only_first, both, 0.5).pvalue) if both else 1.0
    return {"snn_only_right": only_first, "control_only_right": only_second, "p": p}


def label_offset(outputs: int, classes: int | None) -> int:
    """Where a label lies in the model's outputs: 1 for TensorFlow's 1001 ImageNet outputs (0 is background), else 0.

    Raises DataError where the model has fewer outputs than the data set has classes, or another number of them.
    """
    if classes is None or outputs == classes:
        return 0
    if outputs == 1001 and classes <= 1000:
        return 1
    raise DataError(
        "the model's classes do not match the data set's",
        found=f"{outputs} outputs, {classes} classes",
        todo="give --weights trained on this data set, or --train to train here first, or another --dataset",
    )


def evaluate(
    snn: SpikingModel,
    batches: Callable[[], Iterable[Batch]],
    *,
    timesteps: int,
    classes: int | None,
    progress: Callable[[int], None],
    margin: float | None = None,
) -> Evaluation:
    """Run SNN, ANN and control over all batches ((inputs, labels) pairs); `margin` lets the SNN stop early."""
    tally = _Tally(snn, timesteps, classes, margin)
    with torch.inference_mode():
        for inputs, labels in batches():
            tally.add(inputs, labels)
            progress(inputs[0].shape[0])
    return tally.evaluation()


@final
class _Tally:
    """Answers and seconds of the networks, batch after batch."""

    def __init__(self, snn: SpikingModel, timesteps: int, classes: int | None, margin: float | None) -> None:
        self.snn, self.timesteps, self.classes, self.margin = snn, timesteps, classes, margin
        known = {name: program for name, program in (("ann", snn.ann), ("control", snn.control)) if program is not None}
        self.modules = {name: program.module() if name == "ann" else executable(program, 1) for name, program in known.items()}
        self.answers: dict[str, list[Tensor]] = {name: [] for name in ("snn", *self.modules, "labels")}
        self.seconds: dict[str, float] = dict.fromkeys(("snn", *self.modules), 0.0)
        self.points = checkpoints(timesteps)
        self.over_time: list[Tensor] = []
        self.taken: list[Tensor] = []

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network."""
        began = time.perf_counter()
        running = _running(self.snn, inputs, self.timesteps)
        if self.margin is not None:
            running, steps = _stopped(running, self.margin)
            self.taken.append(steps)
        self.seconds["snn"] += time.perf_counter() - began
        offset = label_offset(running.shape[2], self.classes)
        self.over_time.append(running[[t - 1 for t in self.points]].argmax(2) - offset)
        self.answers["snn"].append(running[-1].argmax(1) - offset)
        for name, module in self.modules.items():
            began = time.perf_counter()
            self.answers[name].append(primary(module(*inputs)).argmax(1) - offset)
            self.seconds[name] += time.perf_counter() - began
        if labels is not None:
            self.answers["labels"].append(labels)

    def evaluation(self) -> Evaluation:
        """What was found; DataError where there was no batch."""
        if not self.answers["snn"]:
            raise DataError("there is nothing to evaluate on", found="an empty data set")
        joined = {name: torch.cat(parts) for name, parts in self.answers.items() if parts}
        count = joined["snn"].numel()
        return Evaluation(
            answers=joined,
            curve=_curve(torch.cat(self.over_time, 1), self.points, joined),
            seconds={name: self.seconds[name] / count if name in self.seconds else None for name in ("ann", "snn")},
            timesteps=self.timesteps,
            samples=count,
            reasons=_reasons(joined),
            mean_timesteps=float(torch.cat(self.taken).float().mean()) if self.taken else None,
        )


def _running(snn: SpikingModel, inputs: tuple[Tensor, ...], timesteps: int) -> Tensor:
    """The running mean of the output after every step: [T, B, classes]."""
    module = snn.bound(timesteps)
    raw = primary(module(*(repeated(value, timesteps) for value in inputs)))
    if raw.dim() != 2:
        raise DataError("this model is no classifier", found=f"outputs of shape {tuple(raw.shape)}", allowed="[batch, classes]")
    steps = torch.arange(1, timesteps + 1, dtype=raw.dtype).view(-1, 1, 1)
    return raw.view(timesteps, -1, raw.shape[1]).cumsum(0) / steps


def _stopped(running: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """The running means with each sample frozen at the first step its lead reaches the margin, and that step (from 1)."""
    top = running.topk(2, dim=2).values
    sure = (top[..., 0] - top[..., 1]) >= margin
    sure[-1] = True
    first = sure.int().argmax(0)
    place = torch.minimum(torch.arange(running.shape[0]).view(-1, 1), first)
    return running.gather(0, place.unsqueeze(2).expand_as(running)), first + 1


def checkpoints(timesteps: int) -> list[int]:
    """The steps of the curve: powers of two up to T, and T."""
    return sorted({1 << k for k in range(timesteps.bit_length()) if 1 << k <= timesteps} | {timesteps})


def _curve(answers: Tensor, points: list[int], joined: Mapping[str, Tensor]) -> tuple[dict[str, Any], ...]:
    rows: list[dict[str, Any]] = []
    for point, given in zip(points, answers, strict=True):
        row: dict[str, Any] = {"timesteps": point}
        if "ann" in joined:
            row["agreement"] = float((given == joined["ann"]).float().mean())
        if "labels" in joined:
            row["accuracy"] = float((given == joined["labels"]).float().mean())
            row |= {name: float((joined[name] == joined["labels"]).float().mean()) for name in ("ann", "control") if name in joined}
        rows.append(row)
    return tuple(rows)


def _reasons(joined: Mapping[str, Tensor]) -> dict[str, str]:
    reasons = {name: "the folder does not hold it" for name in ("ann", "control") if name not in joined}
    return reasons | (dict.fromkeys(("ann", "snn", "control"), "the data set has no labels") if "labels" not in joined else {})
