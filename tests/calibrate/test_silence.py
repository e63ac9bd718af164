"""Where a neuron may be silent: 0 is among a staircase's heights, but never where the function guards a division."""

import pytest
import torch
from tests.ir.networks import conv
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance
from spikeloom.calibrate.balance import silence
from spikeloom.capture import capture
from spikeloom.convert import Spike
from spikeloom.ir import Context, run
from spikeloom.simulate import executable


class Normalised(nn.Module):
    """Directions of vectors, some of which have no length: x / max(|x|, 1e-12)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(F.relu(self.conv(x)), dim=1)


@pytest.mark.parametrize("function", [torch.sigmoid, torch.exp, F.gelu, F.silu, F.hardswish, torch.rsqrt, torch.square, F.elu, F.relu6])
def test_a_neuron_is_silent_at_zero(function: object) -> None:
    assert silence(function) == 0.0  # pyright: ignore[reportArgumentType]


def test_a_function_bounded_above_zero_is_never_silent() -> None:
    assert silence(lambda x: x.clamp_min(1e-12)) is None


def test_the_guard_of_a_division_holds_in_the_spiking_network() -> None:
    model, x = Normalised().eval(), torch.randn(4, 3, 6, 6)
    with torch.no_grad():
        model.conv.bias[:] = -1.0  # many positions where nothing fires  # pyright: ignore[reportOptionalSubscript]
    wanted = model(x).detach()
    assert bool((wanted.norm(dim=1) == 0).any())
    program = run([Spike(levels=255), Balance("maximum")], capture(model, (x,)), Context(calibration=lambda: [(x,)]))
    found = executable(program, 1)(x)
    assert float((found - wanted).norm() / wanted.norm()) < 0.05
