"""How a network is trained: the numbers that, with the data and the first weights, determine the last ones."""

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import nn

from spikeloom.errors import ConfigError, SourceError
from spikeloom.train.augmentation import Augment
from spikeloom.train.noise import Noise
from spikeloom.train.schedule import Schedule

Optimiser = Literal["sgd", "adamw"]
PRECISIONS = ("float32", "bfloat16")

MOMENTUM = 0.9
GROWTH = 0.001


@final
@dataclass(frozen=True)
class Recipe:
    """
    noise, where there is some, disturbs what the model sees; distil and consistency weigh what it is taught with beside labels (`lesson`);
    lr is the schedule's peak; weight_decay acts on weights, not on biases and normalisation; early_stop is the accuracy over an epoch's
    training samples (never test samples) at which training ends; with patience it ends too after so many epochs in which
    that accuracy grew by less than GROWTH. ConfigError where a number is out of range.
    """

    epochs: int
    batch_size: int
    lr: float
    seed: int
    augment: Augment
    optimiser: Optimiser
    schedule: Schedule
    weight_decay: float
    label_smoothing: float
    early_stop: float | None
    noise: Noise | None = None
    consistency: float = 0.0
    distil: float = 0.0
    patience: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        checks: tuple[tuple[str, bool, str], ...] = (
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 2, "2 or more (batch norm needs two samples)"),
            ("lr", 0 < self.lr < float("inf"), "a positive number"),
            ("augment", self.augment in get_args(Augment), ", ".join(get_args(Augment))),
            ("optimiser", self.optimiser in get_args(Optimiser), ", ".join(get_args(Optimiser))),
            ("schedule", self.schedule in get_args(Schedule), ", ".join(get_args(Schedule))),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 or more, less than 1"),
            ("patience", self.patience is None or self.patience >= 1, "1 or more epochs, or none"),
            ("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS)),
            ("early_stop", self.early_stop is None or 0 < self.early_stop <= 1, "more than 0, at most 1, or none"),
        )
        for key, holds, allowed in checks:
            if not holds:
                raise ConfigError(f"train.{key} cannot be used", found=getattr(self, key), allowed=allowed)


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the model's trainable parameters. SourceError where it has none."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise SourceError("the model has no parameters to train", found=type(model).__name__)
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM, nesterov=True)
