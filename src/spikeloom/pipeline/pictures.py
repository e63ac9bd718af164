"""
Pictures and their classes: the task of every network that is no reader of texts.

    early exit   a sample stops at the first step whose answer leads by the margin
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor

from spikeloom import datasets
from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.datasets.splits import Wanted
from spikeloom.errors import ConfigError, DataError, UnsupportedError
from spikeloom.ir import Program
from spikeloom.pipeline.evaluation import NETWORKS, Batch, Evaluation, Tally, accuracy, agreement, check_some, mcnemar, share
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.samples import Samples
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.task import Facts, Task


def preprocessing_of(facts: Facts, override: Mapping[str, Any] | None) -> Preprocessing | None:
    """How pictures are prepared: the model's own way, single keys overridden; None where nobody says."""
    told = {**(facts.get("preprocessing") or {}), **(override or {})}
    if not told:
        return None
    shape = facts.get("input_shape") or []
    filled: dict[str, Any] = {"channels": shape[0] if len(shape) == 3 else 3, "size": shape[1:] if len(shape) == 3 else None, **told}
    channels = int(filled["channels"])
    filled.setdefault("mean", [0.0] * channels)
    filled.setdefault("std", [1.0] * channels)
    for key in ("mean", "std", "size"):
        if filled[key] is not None:
            filled[key] = tuple(filled[key])
    try:
        return Preprocessing(**filled)
    except TypeError as error:
        allowed = ", ".join(Preprocessing.__dataclass_fields__)
        raise ConfigError("preprocessing has a key that does not exist", found=", ".join(map(str, told)), allowed=allowed) from error


def load_data(address: str, split: Any, facts: Facts, settings: Settings, limit: int | None) -> Dataset:
    """A split of the data set, prepared as the model wants it."""
    prepared = preprocessing_of(facts, settings.preprocessing)
    return datasets.load(address, split, prepared, settings.data_root, limit=limit, seed=settings.seed)


def facts_of(facts: Facts, settings: Settings) -> dict[str, Any]:
    """The preprocessing really used."""
    prepared = preprocessing_of(facts, settings.preprocessing)
    told = dataclasses.asdict(prepared).items() if prepared else ()
    return {"preprocessing": {key: list(value) if isinstance(value, tuple) else value for key, value in told} or None}


def check(facts: Facts, settings: Settings) -> None:
    """Raises DataError where the model's classes do not match the data set's, UnsupportedError for a model of tokens that no task reads."""
    if facts.get("vocabulary") is not None:
        raise UnsupportedError(
            "this model takes tokens, but not as models do whose texts are read here",
            found=facts.get("source"),
            allowed="models of transformers that take positions and a mask, their attention through transformers' interface",
            todo="give tokens of one length yourself: spikeloom.convert(address, tokens)",
        )
    if settings.length is not None:
        raise ConfigError("text.length is for models that read texts", found=settings.length, allowed="none", todo="leave out --length")
    data = load_data(settings.dataset, "test", facts, settings, 1)
    if facts["classes"] is not None:
        label_offset(facts["classes"], data.num_classes)


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


def samples(address: str, split: Wanted, program: Program, settings: Settings, limit: int | None) -> Samples:
    """Pictures with their labels, in the shape the program takes."""
    data = load_data(address, split, program.settings, settings, limit)
    shape = program.inputs[0].shape[1:]

    def read(size: int, limit: int | None) -> Iterator[Batch]:
        for inputs, labels in datasets.batches(data, size, limit, expect_shape=shape):
            yield (inputs,), labels

    return Samples(len(data), read, data.num_classes, data.note, (data.name, data.split, data.rows))


def at_once(program: Program, batch_size: int, timesteps: int) -> int:
    """Nothing is kept of one layer for another while a network is judged: four times the batch, over the steps."""
    return max(1, batch_size * 4 // timesteps)


@final
class Classes(Tally):
    """The class that each network gives, at every step of the curve. Labels of more or fewer classes are a DataError."""

    def __init__(self, networks: Networks, classes: int | None, margin: float | None) -> None:
        self.networks, self.classes, self.margin = networks, classes, margin
        self.answers: dict[str, list[Tensor]] = {name: [] for name in ("snn", *networks.modules, "labels")}
        self.over_time: list[Tensor] = []
        self.taken: list[Tensor] = []

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network."""
        outputs = self.networks.run(inputs)
        running = outputs.snn
        if running.dim() != 3:
            found = f"outputs of shape {tuple(running.shape[1:])}"
            raise DataError("this model is no classifier", found=found, allowed="[batch, classes]")
        if self.margin is not None:
            running, steps = stopped(running, self.margin)
            self.taken.append(steps)
        offset = label_offset(running.shape[2], self.classes)
        self.over_time.append(running[[t - 1 for t in self.networks.points]].argmax(2) - offset)
        self.answers["snn"].append(running[-1].argmax(1) - offset)
        for name, given in outputs.others.items():
            self.answers[name].append(given.argmax(1) - offset)
        if labels is not None:
            self.answers["labels"].append(labels)

    def evaluation(self) -> Evaluation:
        """Accuracies, agreement and the paired test."""
        check_some(self.answers["snn"])
        joined = {name: torch.cat(parts) for name, parts in self.answers.items() if parts}
        count = joined["snn"].numel()
        unlabelled = dict.fromkeys(NETWORKS, "the data set has no labels") if "labels" not in joined else {}
        return Evaluation(
            measures={
                "accuracy": {name: accuracy(joined, name) for name in NETWORKS},
                "agreement": agreement(joined),
                "mcnemar": mcnemar(joined),
            },
            curve=_curve(torch.cat(self.over_time, 1), self.networks.points, joined),
            seconds=self.networks.per_sample(count),
            timesteps=self.networks.timesteps,
            samples=count,
            answers=joined,
            reasons=self.networks.missing() | unlabelled,
            mean_timesteps=float(torch.cat(self.taken).float().mean()) if self.taken else None,
        )


def stopped(running: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """The running means with each sample frozen at the first step its lead reaches the margin, and that step (from 1)."""
    top = running.topk(2, dim=2).values
    sure = (top[..., 0] - top[..., 1]) >= margin
    sure[-1] = True
    first = sure.int().argmax(0)
    place = torch.minimum(torch.arange(running.shape[0]).view(-1, 1), first)
    return running.gather(0, place.unsqueeze(2).expand_as(running)), first + 1


def _curve(answers: Tensor, points: list[int], joined: Mapping[str, Tensor]) -> tuple[dict[str, Any], ...]:
    rows: list[dict[str, Any]] = []
    for point, given in zip(points, answers, strict=True):
        row: dict[str, Any] = {"timesteps": point}
        if "ann" in joined:
            row["agreement"] = share(given == joined["ann"])
        if "labels" in joined:
            row["accuracy"] = share(given == joined["labels"])
            row |= {name: accuracy(joined, name) for name in ("ann", "control") if name in joined}
        rows.append(row)
    return tuple(rows)


PICTURES = Task(
    unit="samples",
    profiled=128,
    exits=True,
    facts=facts_of,
    check=check,
    samples=samples,
    at_once=at_once,
    tally=Classes,
)
