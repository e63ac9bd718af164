"""Trains the model of test_classifier on its data, with checkpoints; run as a process of its own, to be killed."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import torch

from spikeloom.train import TrainProgress, train_classifier

torch.set_num_threads(1)


def small_model() -> torch.nn.Module:
    """Convolution, batch norm, dropout: all that has state or draws random numbers."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.25),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 6 * 6, 3),
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


def small_data(count: int, seed: int) -> list[tuple[torch.Tensor, int]]:
    """Noise in which one of three rows is brighter."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 1, 6, 6, generator=generator)
    for index in range(count):
        x[index, 0, 2 * (index % 3)] += 1.0
    return [(picture, index % 3) for index, picture in enumerate(x)]


def main(checkpoint: Path, die_at: int) -> None:
    """Trains until a checkpoint after step `die_at` exists, then dies as by `kill -9`."""

    def report(progress: TrainProgress) -> None:
        if progress.step == die_at:
            os.kill(os.getpid(), 9)

    settings = {"epochs": 3, "batch_size": 8, "lr": 0.05, "seed": 5, "augment": "cifar"}
    train_classifier(
        small_model(), small_data(50, 0), small_data(30, 1), **settings, checkpoint=checkpoint, checkpoint_steps=4, progress=report
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
