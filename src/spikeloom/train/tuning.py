"""
A fine-tuning under way: the student and the optimiser, which each step changes, and the progress, which says what the next step takes.

Nothing random is drawn here: the examples are a function of the epoch's number, so that a tuning that goes on from its checkpoint ends
where an unbroken one does. Every epoch ends with the loss of the examples held out; the best state by it is kept.

Devices, and several processes, are Accelerate's (https://huggingface.co/docs/accelerate): process i of n takes every n-th batch from i on.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, final

import torch
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.ir import Examples, Labelled, Program, Redrawn
from spikeloom.simulate import Recorder, primary
from spikeloom.train.examples import checked
from spikeloom.train.objective import Objective, hits
from spikeloom.train.schedule import half_cosine
from spikeloom.train.step import memory_guard
from spikeloom.train.student import Student

CHECKPOINT_S = 60.0
"""A checkpoint is written after every epoch, and whenever the last one is so many seconds old."""


@final
@dataclass(frozen=True)
class Progressed:
    """Epochs that are finished, steps done in all and in this epoch, the sum of its losses; of every finished epoch what there is to say;
    the best loss on what is held out, the epoch that had it (0: what was there at the `start`), and whether the tuning is finished."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    history: tuple[dict[str, float | None], ...] = ()
    start: dict[str, float | None] | None = None
    best_loss: float = math.inf
    best_epoch: int = 0
    finished: bool = False

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progressed":
        """The progress that a checkpoint holds."""
        fields: dict[str, Any] = {**values, "history": tuple(values["history"])}
        return cls(**fields)

    def stepped(self, loss: float) -> "Progressed":
        """After a step of that loss."""
        return replace(self, step=self.step + 1, step_in_epoch=self.step_in_epoch + 1, loss_sum=self.loss_sum + loss)

    def judged(self, held_out: float, accuracy: float | None, epochs: int, patience: int | None) -> "Progressed":
        """By the loss and the accuracy on what is held out, after an epoch (before any, of the start): finished after the last epoch, or
        after `patience` epochs without a best."""
        row: dict[str, float | None] = {"held_out_loss": held_out, "held_out_accuracy": accuracy}
        if self.start is None:
            return replace(self, start=row, best_loss=held_out)
        epoch = self.epoch + 1
        best = epoch if held_out < self.best_loss else self.best_epoch
        moved = replace(self, epoch=epoch, step_in_epoch=0, loss_sum=0.0, best_loss=min(held_out, self.best_loss), best_epoch=best)
        history = (*self.history, {"loss": self.loss_sum / max(self.step_in_epoch, 1), **row})
        return replace(moved, history=history, finished=epoch >= epochs or (patience is not None and epoch - best >= patience))


@final
class Teacher:
    """The ANN's outputs, and its values at some nodes."""

    def __init__(self, ann: Program, wanted: Mapping[str, str], device: torch.device) -> None:
        self.wanted = wanted
        self.recorder = Recorder(ann.module().to(device), wanted.values())

    @torch.no_grad()
    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Any, dict[str, Tensor]]:
        """Outputs, and for each population that is wanted the ANN's activation."""
        outputs = self.recorder.run(*inputs)
        return outputs, {population: self.recorder.kept[name] for population, name in self.wanted.items()}


@final
@dataclass
class Tuning:
    """See the module. `student` and `optimiser` are prepared by the accelerator; rates rise over `warmup` of all steps and fall along half
    a cosine."""

    accelerator: Any
    student: Any
    optimiser: torch.optim.Optimizer
    teacher: Teacher | None
    examples: Examples
    objective: Objective
    epochs: int
    steps: int
    warmup: float
    patience: int | None
    bfloat16: bool
    progress: Progressed
    redrawn: Redrawn | None = None

    @property
    def own(self) -> Student:
        """The student itself."""
        return self.accelerator.unwrap_model(self.student)

    def run(self, keep: Callable[[], None], report: Callable[[str, int, int], None]) -> None:
        """The tuning is finished; on the way `keep` was called for every checkpoint that fell due, and `report` after every step."""
        kept = time.monotonic()
        if self.progress.start is None:
            self.judge()
        while not self.progress.finished:
            for inputs, labels in self._rest_of_epoch():
                self.step(inputs, labels)
                report(self._said(), self.progress.step, self.epochs * self.steps)
                if time.monotonic() - kept > CHECKPOINT_S:
                    keep()
                    kept = time.monotonic()
            self.judge()
            keep()
            kept = time.monotonic()

    def _rest_of_epoch(self) -> Iterator[Labelled]:
        done, of, one = self.progress.step_in_epoch, self.accelerator.num_processes, self.accelerator.process_index
        if done >= self.steps:
            return iter(())
        batches = self.examples.epoch(self.progress.epoch)
        return checked(islice(batches, done * of + one, self.steps * of, of), self.own.program, "the examples")

    def step(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One step on. NumericError where the loss is NaN or infinite; nothing has changed then."""
        self._redraw(self.progress.step)
        with memory_guard(len(inputs[0])):
            loss = self.loss(inputs, labels)[0]
            value = loss.item()
            if not math.isfinite(value):
                found = f"loss {value} in epoch {self.progress.epoch + 1}, step {self.progress.step_in_epoch + 1}"
                todo = "lower the rates (try a tenth), and check the network and the data it starts from"
                raise NumericError("fine-tuning diverged: the loss is not finite", found=found, todo=todo)
            self.optimiser.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
        share = self._rate()
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share
        self.optimiser.step()
        self.own.confine_()
        self.progress = self.progress.stepped(value)

    def _redraw(self, number: int) -> None:
        """What changes from step to step is that of this number: steps count from 0 up, batches that judge from -1 down."""
        if self.redrawn is not None:
            self.own.redraw_(self.redrawn(number))

    def loss(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, Any, Tensor | None]:
        """The loss of a batch, with the outputs and the labels on the device."""
        inputs = tuple(value.to(self.accelerator.device) for value in inputs)
        labels = None if labels is None else labels.to(self.accelerator.device)
        told, values = (None, {}) if self.teacher is None else self.teacher(inputs)
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.bfloat16 and torch.is_grad_enabled()):
            given, means = self.student(*inputs)
        pairs = {name: (means[name], value) for name, value in values.items()}
        return self.objective.loss(given, told, labels, pairs), given, labels

    @torch.no_grad()
    def judge(self) -> None:
        """What is held out has been judged, in float32: the epoch is over, and the best state is kept."""
        total, count, right, known = 0.0, 0, 0, 0
        for place, (inputs, labels) in enumerate(checked(self.examples.held_out(), self.own.program, "the examples held out")):
            self._redraw(-1 - place)
            loss, given, labels = self.loss(inputs, labels)
            total, count = total + loss.item() * len(inputs[0]), count + len(inputs[0])
            if labels is not None and self.objective.outputs == "logits":
                found = hits(primary(given), labels)
                right, known = right + found[0], known + found[1]
        if not math.isfinite(total):
            when = "at the start" if self.progress.start is None else f"after epoch {self.progress.epoch + 1}"
            raise NumericError("the loss of what is held out is not finite", found=when, todo="lower the rates, and check network and data")
        self.progress = self.progress.judged(total / count, right / known if known else None, self.epochs, self.patience)
        if self.progress.best_epoch == self.progress.epoch > 0:
            self.own.keep_()

    def _rate(self) -> float:
        """The learning rate of the next step, as a share of the peak."""
        step, steps = self.progress.step, self.epochs * self.steps
        return min(1.0, (step + 1) / max(self.warmup * steps, 1.0)) * half_cosine(1.0, 0.0, step / steps)

    def _said(self) -> str:
        now = self.progress
        said = f"fine-tuning: epoch {now.epoch + 1}/{self.epochs}, loss {now.loss_sum / max(now.step_in_epoch, 1):.3g}"
        last = now.history[-1] if now.history else {}
        accuracy = last.get("held_out_accuracy")
        return said if accuracy is None else f"{said}, held out {accuracy:.1%}"
