"""Small logic-gated networks, their statistics warm, for the tests of what is made of them."""

import torch
from torch import Tensor, nn

from spikeloom.logic import convolutional, fully_connected


def warmed(network: nn.Module, *shape: int) -> nn.Module:
    """The network in evaluation mode after a few batches, so that its thresholds are not those of the start."""
    network.train()
    for _ in range(5):
        network(torch.rand(32, *shape))
    return network.eval()


def dense() -> tuple[nn.Module, Tensor]:
    """Two layers of gates, widths that fill no word."""
    return warmed(fully_connected(49, (70, 33), 5, (0.3, 0.6)), 1, 7, 7), torch.rand(40, 1, 7, 7)


def residual() -> tuple[nn.Module, Tensor]:
    """Convolutions, sums of counts, pools, flattening."""
    return warmed(convolutional((2, 8, 8), (5, 9), 20, 4, (0.25, 0.5, 0.75), residual=True), 2, 8, 8), torch.rand(40, 2, 8, 8)


NETWORKS = {"dense": dense, "residual": residual}
