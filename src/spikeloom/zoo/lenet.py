"""
LeNet with batch norm for 28x28 grey pictures: two convolutions, one max-pool, two linear layers.

Source: the SNN toolbox's MNIST network (models/lenet5/lasagne/99.02.h5 of snntoolbox_applications); a state dict of it loads as it is,
so the layers are numbered as in an nn.Sequential.
"""

from torch import nn


def lenet(classes: int) -> nn.Sequential:
    """An untrained LeNet: [batch, 1, 28, 28] → logits [batch, classes]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2),
        nn.BatchNorm2d(16, eps=1e-4),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.BatchNorm2d(32, eps=1e-4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 5 * 5, 800),
        nn.BatchNorm1d(800, eps=1e-4),
        nn.ReLU(),
        nn.Linear(800, classes),
    )
