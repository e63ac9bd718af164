"""
Ingestion: the data set, and the ANN as a program, trained here first where that was asked for.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from spikeloom import datasets
from spikeloom.capture import Source, capture, resolve
from spikeloom.datasets import Dataset, parse_address
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Program, Progress
from spikeloom.pipeline.overlap import check_apart
from spikeloom.pipeline.pictures import load_data
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of
from spikeloom.train import TrainProgress, train_classifier

EPOCHS: Mapping[str, int] = {"digits": 20, "mnist": 3, "fashion_mnist": 6}
"""Epochs of training where none are asked for, by data set; any other: 30."""


def ingest(settings: Settings, checkpoint: Path, progress: Progress) -> Program:
    """The captured ANN. With `settings.train` its weights are learnt here first, from the checkpoint on when resuming.

    Raises a UserError where the model does not fit the data set, or what was asked for.
    """
    if settings.train:
        return trained(settings, checkpoint, progress)
    progress("loading the model", 0, 1)
    how: dict[str, Any] = {"input_shape": settings.input_shape, "data_root": settings.data_root, "seed": settings.seed}
    source = resolve(settings.source, weights=settings.weights, allow_pickle=settings.allow_pickle, **how)
    task_of(source.settings).check(source.settings, settings)
    program = source.program(**facts_of(source, settings))
    progress("loading the model", 1, 1)
    return program


def facts_of(source: Source, settings: Settings) -> dict[str, Any]:
    """What is kept with the program: what the source says, the data set, and how its samples were really read."""
    return {**source.settings, **task_of(source.settings).facts(source.settings, settings), "dataset": settings.dataset}


def trained(settings: Settings, checkpoint: Path, progress: Progress) -> Program:
    """The ANN trained from random weights on the data set's training split."""
    if parse_address(settings.dataset).scheme == "text":
        raise ConfigError("training.enable is for classifiers of pictures", found=settings.dataset, todo="leave out --train")
    data = datasets.load(settings.dataset, "train", None, settings.data_root, limit=1)
    how: dict[str, Any] = {"input_shape": settings.input_shape, "seed": settings.seed}
    source = resolve(settings.source, classes=data.num_classes, random_weights=True, **how)
    train_set, test_set = (load_data(settings.dataset, split, source.settings, settings, None) for split in ("train", "test"))
    _check_trainable(source, train_set)
    check_apart(train_set, test_set, "name the set alone, without split and rows, so that it can be parted; or give --weights for --train")
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
