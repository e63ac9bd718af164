"""
Ingestion: the data set, and the ANN as a program, trained here first where that was asked for.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spikeloom import datasets
from spikeloom.capture import Source, capture, resolve
from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Batches, Program, Progress
from spikeloom.pipeline.evaluation import label_offset
from spikeloom.pipeline.settings import Settings
from spikeloom.train import TrainProgress, train_classifier

EPOCHS: Mapping[str, int] = {"digits": 20, "mnist": 3, "fashion_mnist": 6}
"""Epochs of training where none are asked for, by data set; any other: 30."""


def preprocessing_of(settings: Mapping[str, Any], override: Mapping[str, Any] | None) -> Preprocessing | None:
    """How pictures are prepared: the model's own way, single keys overridden; None where nobody says."""
    told = {**(settings.get("preprocessing") or {}), **(override or {})}
    if not told:
        return None
    shape = settings.get("input_shape") or []
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


def load_data(address: str, split: Any, facts: Mapping[str, Any], settings: Settings, limit: int | None) -> Dataset:
    """A split of the data set, prepared as the model wants it."""
    prepared = preprocessing_of(facts, settings.preprocessing)
    return datasets.load(address, split, prepared, settings.data_root, limit=limit, seed=settings.seed)


def calibration_stream(data: Dataset, size: int, shape: tuple[int, ...]) -> Batches:
    """A fresh stream of input batches [b, …] each time it is called."""

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for inputs, _ in datasets.batches(data, size, expect_shape=shape):
            yield (inputs,)

    return stream


def ingest(settings: Settings, checkpoint: Path, progress: Progress) -> Program:
    """The captured ANN. With `settings.train` its weights are learnt here first, from the checkpoint on when resuming.

    Raises DataError where the model's classes do not match the data set's.
    """
    if settings.train:
        return trained(settings, checkpoint, progress)
    progress("loading the model", 0, 1)
    source = resolve(settings.source, weights=settings.weights, allow_pickle=settings.allow_pickle, seed=settings.seed)
    data = load_data(settings.dataset, "test", source.settings, settings, 1)
    if source.settings["classes"] is not None:
        label_offset(source.settings["classes"], data.num_classes)
    program = source.program(**facts_of(source, settings))
    progress("loading the model", 1, 1)
    return program


def facts_of(source: Source, settings: Settings) -> dict[str, Any]:
    """What is kept with the program: what the source says, the data set, and the preprocessing really used."""
    prepared = preprocessing_of(source.settings, settings.preprocessing)
    told = dataclasses.asdict(prepared).items() if prepared else ()
    used = {key: list(value) if isinstance(value, tuple) else value for key, value in told} or None
    return {**source.settings, "preprocessing": used, "dataset": settings.dataset}


def trained(settings: Settings, checkpoint: Path, progress: Progress) -> Program:
    """The ANN trained from random weights on the data set's training split."""
    data = datasets.load(settings.dataset, "train", None, settings.data_root, limit=1)
    source = resolve(settings.source, classes=data.num_classes, random_weights=True, seed=settings.seed)
    train_set, test_set = (load_data(settings.dataset, split, source.settings, settings, None) for split in ("train", "test"))
    _check_trainable(source, train_set)
    name = settings.dataset.split("[")[0].split("@")[0]
    epochs = settings.epochs or EPOCHS.get(name, 30)
    small = len(train_set) < 10_000
    result = train_classifier(
        source.model,
        train_set,
        test_set,
        epochs=epochs,
        batch_size=64 if small else 128,
        lr=3e-3 if small else 0.1,
        optimiser="adamw" if small else "sgd",
        augment="cifar" if source.settings["input_shape"] == [3, 32, 32] else "none",
        seed=settings.seed,
        device=settings.device,
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
        progress=_shown(progress),
    )
    facts = {**facts_of(source, settings), "weights": f"trained here: {epochs} epochs, seed {settings.seed}"}
    model: nn.Module = result.model.to("cpu")
    return capture(model, source.args, source.kwargs, facts)


def _check_trainable(source: Source, data: Dataset) -> None:
    if source.settings["classes"] is None:
        raise DataError("only classifiers can be trained here", found=source.address, todo="give --weights")
    x, _ = data[0]
    if list(x.shape) != source.settings["input_shape"]:
        found, allowed = tuple(x.shape), tuple(source.settings["input_shape"])
        raise DataError("the data set's pictures have another shape than the model takes", found=found, allowed=allowed)


def _shown(progress: Progress) -> Callable[[TrainProgress], None]:
    def show(now: TrainProgress) -> None:
        progress(f"training the ANN: epoch {now.epoch}/{now.epochs}, accuracy {now.accuracy:.1%}", now.step, now.steps)

    return show
