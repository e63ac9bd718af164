"""What training says of itself while it runs and when it is done."""

from dataclasses import dataclass
from typing import final

from torch import nn


@final
@dataclass(frozen=True)
class TrainProgress:
    """
    After a step: the epoch (from 1) of `epochs`, the steps done of `steps`, mean loss and accuracy of this epoch's samples so far, and,
    measured since this process began to train, the speed and the seconds still to go. `noise` is the strongest
    that is open now, where training has any.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    eta_s: float
    noise: float | None = None


@final
@dataclass(frozen=True)
class TrainResult:
    """
    The trained model (a copy, in evaluation mode, on the device it was trained on) and what came of it: steps done, mean loss and accuracy
    of every epoch on training samples (with their noise), accuracy on `test_images` test samples, the seconds this process took, and the
    step it resumed at.
    """

    model: nn.Module
    steps: int
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    test_accuracy: float
    test_images: int
    seconds: float
    resumed_at: int
