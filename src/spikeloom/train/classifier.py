"""
Training a classifier: cross entropy, SGD with momentum or AdamW, a schedule, checkpoints.

Everything random is a function of the seed and of how far training has come, so a training that is stopped at any moment and resumed from
its checkpoint ends at exactly the weights of an unbroken one (same machine, same number of threads).
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import ConfigError, DataError
from spikeloom.train.augmentation import Augment
from spikeloom.train.checkpoint import load_checkpoint, save_checkpoint
from spikeloom.train.lesson import Lesson, Teacher
from spikeloom.train.noise import Noise
from spikeloom.train.position import Position
from spikeloom.train.progress import TrainProgress, TrainResult
from spikeloom.train.recipe import Optimiser, Recipe, make_optimiser
from spikeloom.train.samples import Samples, gather
from spikeloom.train.schedule import Schedule
from spikeloom.train.step import accuracy
from spikeloom.train.training import Training

CHECKPOINT_STEPS, CHECKPOINT_S = 500, 20.0
"""A checkpoint is written every so many steps, and whenever the last one is so many seconds old."""

DIGEST_SAMPLES = 16


def data_digest(samples: Samples) -> str:
    """A digest of the first samples, by which a resumed training knows its data and how they are prepared."""
    x, y = gather(samples, torch.arange(min(DIGEST_SAMPLES, len(samples))))
    return hashlib.sha256(x.contiguous().numpy().tobytes() + y.numpy().tobytes()).hexdigest()[:16]


def deterministic(device: torch.device) -> AbstractContextManager[Any]:
    """cuDNN's repeatable algorithms on a GPU; nothing to do elsewhere."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32)


def run(training: Training, keep: Callable[[], None], checkpoint_steps: int, progress: Callable[[TrainProgress], None] | None) -> None:
    """The training is finished; on the way `keep` was called for every checkpoint that fell due, and `progress` after every step."""
    began = kept = time.monotonic()
    first = training.position.step
    while not training.position.finished:
        training.step()
        now, done = time.monotonic(), training.position.step
        if training.position.finished or done % checkpoint_steps == 0 or now - kept > CHECKPOINT_S:
            keep()
            kept = now
        if progress is not None:
            progress(training.progress((done - first) / max(now - began, 1e-9)))


def train_classifier(
    model: nn.Module,
    train_set: Samples,
    test_set: Samples,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Callable[[TrainProgress], None] | None = None,
    augment: Augment = "none",
    optimiser: Optimiser = "sgd",
    schedule: Schedule = "one_cycle",
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.0,
    early_stop: float | None = None,
    checkpoint_steps: int = CHECKPOINT_STEPS,
    noise: Noise | None = None,
    consistency: float = 0.0,
    teacher: Teacher | None = None,
    distil: float = 0.0,
    teaches_clean: bool = False,
    shown: Callable[[Tensor], Tensor] | None = None,
    patience: int | None = None,
    precision: str = "float32",
) -> TrainResult:
    """
    A trained copy of the model with its accuracy on the test set; `model` itself is left as it was.

    The training set is taken in batches of `batch_size` in a new order every epoch; what is left over when it is divided rests that epoch.
    `progress` is called after every step. With `checkpoint`, a file that is replaced as training goes on; with `resume` too, training goes
    on from that file where it exists. With `shown`, training samples become what it makes of them, after noise, before the model sees them;
    test samples are as the model takes them. The other arguments are those of `Recipe` and `Lesson`.

    DataError: empty sets, NaN or infinite samples, labels beyond the model's classes. ConfigError: a number out of range, or a checkpoint
    of other settings or data. ProgramError: a damaged checkpoint. NumericError: training diverged. ResourceError: disk or memory ran out.
    """
    recipe = Recipe(
        epochs,
        batch_size,
        lr,
        seed,
        augment,
        optimiser,
        schedule,
        weight_decay,
        label_smoothing,
        early_stop,
        noise,
        consistency,
        distil,
        patience,
        precision,
    )
    lesson = Lesson(label_smoothing, consistency, distil, teacher, teaches_clean)
    if resume and checkpoint is None:
        raise ConfigError("training cannot be resumed without a checkpoint", found="resume, no checkpoint", todo="name the file")
    if len(train_set) < 2 or len(test_set) == 0:
        found = f"{len(train_set)} training, {len(test_set)} test samples"
        raise DataError("there is too little to train or test with", found=found, allowed="2 or more to train, 1 or more to test")
    began, place = time.monotonic(), torch.device(device)
    trained = copy.deepcopy(model).to(place).train()
    training = Training(trained, make_optimiser(trained, recipe), train_set, recipe, place, Position(), lesson, shown)
    settings = {**json.loads(json.dumps(asdict(recipe))), "samples": len(train_set), "data": data_digest(train_set)}
    if checkpoint is not None and resume and checkpoint.exists():
        training.position = Position.from_json(load_checkpoint(checkpoint, trained, training.optimiser, settings))
    resumed_at = training.position.step

    def keep() -> None:
        if checkpoint is not None:
            save_checkpoint(checkpoint, trained, training.optimiser, training.position, settings)

    with deterministic(place):
        run(training, keep, checkpoint_steps, progress)
    return TrainResult(
        trained,
        steps=training.position.step,
        losses=training.position.losses,
        accuracies=training.position.accuracies,
        test_accuracy=accuracy(trained, test_set, batch_size, place),
        test_images=len(test_set),
        seconds=time.monotonic() - began,
        resumed_at=resumed_at,
    )
