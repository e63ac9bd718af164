"""A training under way: the model and the optimiser, which each step changes, and the position, which says what the next step takes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from spikeloom.errors import NumericError
from spikeloom.train.augmentation import augmented
from spikeloom.train.lesson import Lesson
from spikeloom.train.position import Position
from spikeloom.train.progress import TrainProgress
from spikeloom.train.recipe import Recipe
from spikeloom.train.samples import AUGMENT, NOISE, Samples, epoch_order, gather, generator_for
from spikeloom.train.schedule import learning_rate
from spikeloom.train.step import memory_guard, own_randomness, train_step


@final
@dataclass
class Training:
    """See the module. `shown` is what samples become, after noise, before model and teacher see them."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    samples: Samples
    recipe: Recipe
    device: torch.device
    position: Position
    lesson: Lesson
    shown: Callable[[Tensor], Tensor] | None = None

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
        clean, y = gather(self.samples, self.rows())
        clean = augmented(clean, recipe.augment, generator_for(recipe.seed, AUGMENT, done))
        x, places = self.disturbed(clean)
        x, clean = (x, clean) if self.shown is None else (self.shown(x), self.shown(clean))
        lr = learning_rate(done, self.steps, recipe.lr, recipe.schedule)
        with memory_guard(recipe.batch_size), own_randomness(recipe.seed, done, self.device):
            x, clean, y = x.to(self.device), clean.to(self.device), y.to(self.device)
            loss, right, classes = train_step(self.model, self.optimiser, self.lesson, x, clean, y, lr, recipe.precision)
        if places is not None:
            opening = self.position.opening.after(places, right.cpu(), classes, (done + 1) / self.steps)
            self.position = replace(self.position, opening=opening)
        self.position = self.position.advance(loss, int(right.sum()), len(y), self.steps_in_epoch, recipe)
        if self.position.finished:
            refuse_broken(self.model)

    def disturbed(self, clean: Tensor) -> tuple[Tensor, Tensor | None]:
        """The batch as the model sees it, and where in the range each sample's noise lies, where there is any."""
        noise, generator = self.recipe.noise, generator_for(self.recipe.seed, NOISE, self.position.step)
        if noise is None:
            return clean, None
        count = len(clean)
        places = self.position.opening.places(count, generator) if noise.curriculum else torch.rand(count, generator=generator)
        return noise.disturbed(clean, noise.strength(places), generator), places

    def open_noise(self) -> float | None:
        """The strongest noise that is open now."""
        noise = self.recipe.noise
        return None if noise is None else noise.low + (noise.high - noise.low) * (self.position.opening.part if noise.curriculum else 1.0)

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
            noise=self.open_noise(),
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
