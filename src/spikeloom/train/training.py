"""A training under way: the model and the optimiser, which each step changes, and the position, which says what the next step takes."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from spikeloom.errors import NumericError
from spikeloom.train.augmentation import augmented
from spikeloom.train.position import Position
from spikeloom.train.progress import TrainProgress
from spikeloom.train.recipe import Recipe
from spikeloom.train.samples import AUGMENT, Samples, epoch_order, gather, generator_for
from spikeloom.train.schedule import learning_rate
from spikeloom.train.step import memory_guard, own_randomness, train_step


@final
@dataclass
class Training:
    """See the module."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    samples: Samples
    recipe: Recipe
    device: torch.device
    position: Position

    @property
    def steps_in_epoch(self) -> int:
        """How many whole batches an epoch has; one, smaller, where there are fewer samples than a batch takes."""
        return max(1, len(self.samples) // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """How many steps the whole training has, if it is not stopped early."""
        return self.recipe.epochs * self.steps_in_epoch

    def rows(self) -> torch.Tensor:
        """The samples of the next step."""
        start = self.position.step_in_epoch * self.recipe.batch_size
        return epoch_order(len(self.samples), self.recipe.seed, self.position.epoch)[start : start + self.recipe.batch_size]

    def step(self) -> None:
        """One step on. DataError, NumericError and ResourceError as `train_step` and `memory_guard`."""
        recipe, done = self.recipe, self.position.step
        x, y = gather(self.samples, self.rows())
        x = augmented(x, recipe.augment, generator_for(recipe.seed, AUGMENT, done))
        lr = learning_rate(done, self.steps, recipe.lr, recipe.schedule)
        with memory_guard(recipe.batch_size), own_randomness(recipe.seed, done, self.device):
            x, y = x.to(self.device), y.to(self.device)
            loss, correct = train_step(self.model, self.optimiser, x, y, lr, recipe.label_smoothing)
        self.position = self.position.advance(loss, correct, len(y), self.steps_in_epoch, recipe)
        if self.position.finished:
            refuse_broken(self.model)

    def progress(self, steps_per_second: float) -> TrainProgress:
        """What there is to say after a step, at the speed that was measured."""
        epoch, loss, accuracy = self.position.latest()
        return TrainProgress(
            epoch=epoch,
            epochs=self.recipe.epochs,
            step=self.position.step,
            steps=self.steps,
            loss=loss,
            accuracy=accuracy,
            images_per_second=steps_per_second * min(self.recipe.batch_size, len(self.samples)),
            eta_s=0.0 if self.position.finished else (self.steps - self.position.step) / steps_per_second,
        )


def refuse_broken(model: nn.Module) -> None:
    """Nothing where all weights are finite; else NumericError names the first that is not."""
    for name, value in model.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise NumericError(
                "training diverged: a weight is not finite", found=name, todo="lower the learning rate (try a tenth) and start anew"
            )
