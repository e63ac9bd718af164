"""
The digits CNN: three convolutions and one linear layer for scikit-learn's 8x8 digits; the network of the built-in demonstration.

    conv 3x3 → 16, conv 3x3 → 32, max-pool 2, conv 3x3 → 64, mean over the 4x4 positions, linear     (batch norm and ReLU after each conv)
"""

from torch import nn


def digits_cnn(classes: int) -> nn.Sequential:
    """An untrained digits CNN: [batch, 1, 8, 8] → logits [batch, classes]; 24,058 parameters at ten classes."""
    return nn.Sequential(
        *_convolution(1, 16),
        *_convolution(16, 32),
        nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
