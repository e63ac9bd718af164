"""
MNIST networks for TrueNorth's cores: logic-gated ones of at most 128 inputs a gate, as a core takes ternary weights, and of 784; and one of
ReLU with at most 64 inputs a neuron, as a core takes weights of 4 bits.
"""

from torch import nn

from gated.pictures import Form, Kept, trained
from spikeloom.logic import Bits, Gate, Readout, TernaryConv2d, TernaryLinear, floating_twin, fully_connected
from spikeloom.train import TrainResult


def patches() -> nn.Sequential:
    """[B, 1, 28, 28] → logits [B, 10]: convolutions of 49, 128, 72, 128 and 128 inputs a gate, then counts of 256 gates."""
    layers: list[nn.Module] = [Bits((0.5,))]
    for inputs, outputs, kernel, stride, padding, groups in (
        (1, 32, 7, 2, 3, 1),
        (32, 64, 2, 2, 0, 1),
        (64, 128, 3, 2, 1, 8),
        (128, 128, 1, 1, 0, 1),
        (128, 256, 4, 1, 0, 16),
    ):
        layers += [TernaryConv2d(inputs, outputs, kernel, stride, padding, groups), Gate(outputs)]
    return nn.Sequential(*layers, nn.Flatten(), TernaryLinear(256, 10), Readout(10))


def rectified() -> nn.Sequential:
    """[B, 1, 28, 28] → logits [B, 10]: five layers of ReLU, of 25, 64, 36, 64 and 64 inputs a neuron."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride, padding, groups in (
        (1, 32, 5, 2, 2, 1),
        (32, 64, 2, 2, 0, 2),
        (64, 64, 3, 2, 1, 16),
        (64, 64, 1, 1, 0, 1),
        (64, 128, 4, 1, 0, 16),
    ):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


RECTIFIED = Form("patches of ReLU 32-64-64-64-128", rectified, 8, 0, 250, 0.0, 3e-3, 98.0, "")
PATCHES = Form("patches 32-64-128-128-256", patches, 6, 12, 256, 0.012, 2e-3, 98.0, "")
FULL = Form("fully connected 784-256-256-10", lambda: fully_connected(784, (256, 256), 10), 6, 10, 256, 0.015, 1e-3, 97.0, "")


def taught(label: str, form: Form, data: tuple[Kept, Kept]) -> TrainResult:
    """The ternary network, taught by its floating twin."""
    network = form.make()
    twin = trained(f"{label}-float", floating_twin(network), data, form)
    return trained(f"{label}-ternary", network, data, form, teacher=twin.model, distil=0.9)
