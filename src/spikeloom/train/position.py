"""How far a training has come: with the recipe and the data, all that decides what happens next."""

from dataclasses import dataclass, replace
from typing import Any, final

from spikeloom.train.recipe import Recipe


@final
@dataclass(frozen=True)
class Position:
    """Steps done, of them in this epoch; finished epochs; this epoch's sums of loss and hits; the finished epochs' means."""

    step: int = 0
    step_in_epoch: int = 0
    epoch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    finished: bool = False

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """The position that a checkpoint holds."""
        fields: dict[str, Any] = {**values, "losses": tuple(values["losses"]), "accuracies": tuple(values["accuracies"])}
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
        if moved.step_in_epoch < steps_in_epoch:
            return moved
        reached = moved.correct / moved.seen
        return Position(
            step=moved.step,
            epoch=moved.epoch + 1,
            losses=(*moved.losses, moved.loss_sum / moved.seen),
            accuracies=(*moved.accuracies, reached),
            finished=moved.epoch + 1 == recipe.epochs or (recipe.early_stop is not None and reached >= recipe.early_stop),
        )
