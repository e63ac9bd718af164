"""How far a training has come: with the recipe and the data, all that decides what happens next."""

from dataclasses import dataclass, field, replace
from typing import Any, final

from spikeloom.train.curriculum import Opening
from spikeloom.train.recipe import GROWTH, Recipe


@final
@dataclass(frozen=True)
class Position:
    """Steps done, of them in this epoch; finished epochs; this epoch's sums of loss and hits; the finished epochs' means; how much noise is
    open, and how many finished epochs were wholly so."""

    step: int = 0
    step_in_epoch: int = 0
    epoch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    finished: bool = False
    opening: Opening = field(default_factory=Opening)
    open_epochs: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """The position that a checkpoint holds."""
        fields: dict[str, Any] = {**values, "losses": tuple(values["losses"]), "accuracies": tuple(values["accuracies"])}
        opening: dict[str, Any] = dict(values["opening"])
        fields["opening"] = Opening(opening["part"], tuple(opening["right"]), opening["classes"])
        return cls(**fields)

    def latest(self) -> tuple[int, float, float]:
        """The epoch (from 1) of the last step, and the mean loss and accuracy of its samples so far."""
        if self.step_in_epoch == 0:
            return self.epoch, self.losses[-1], self.accuracies[-1]
        return self.epoch + 1, self.loss_sum / self.seen, self.correct / self.seen

    def advance(self, loss: float, correct: int, count: int, steps_in_epoch: int, recipe: Recipe) -> "Position":
        """The position after a step over `count` samples: at an epoch's end its means are kept, and training may be finished."""
        moved = replace(
            self,
            step=self.step + 1,
            step_in_epoch=self.step_in_epoch + 1,
            loss_sum=self.loss_sum + loss * count,
            correct=self.correct + correct,
            seen=self.seen + count,
        )
        return moved if moved.step_in_epoch < steps_in_epoch else moved._epoch_done(recipe)

    def _epoch_done(self, recipe: Recipe) -> "Position":
        reached = self.correct / self.seen
        whole = recipe.noise is None or not recipe.noise.curriculum or self.opening.part >= 1
        done = Position(
            step=self.step,
            epoch=self.epoch + 1,
            losses=(*self.losses, self.loss_sum / self.seen),
            accuracies=(*self.accuracies, reached),
            opening=self.opening,
            open_epochs=self.open_epochs + whole,
        )
        enough = recipe.early_stop is not None and reached >= recipe.early_stop
        return replace(done, finished=done.epoch == recipe.epochs or enough or done._stalled(recipe.patience))

    def _stalled(self, patience: int | None) -> bool:
        """Whether the last epochs, all noise open, brought nothing."""
        if patience is None or self.open_epochs <= patience:
            return False
        judged = self.accuracies[-self.open_epochs :]
        return max(judged[-patience:]) < max(judged[:-patience]) + GROWTH
