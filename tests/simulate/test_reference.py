"""The reference: the program run with the ANN's own functions equals the ANN, and every function is known by channel."""

import pytest
import torch
from tests.ir.networks import Wired, conv
from tests.simulate.networks import NETWORKS, ann, samples, unbalanced
from torch import nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.errors import ProgramError
from spikeloom.ir import note
from spikeloom.simulate import channel_function, float_function, populations, reference


@pytest.mark.parametrize("name", NETWORKS)
def test_the_reference_equals_the_ann_also_before_there_are_thresholds(name: str) -> None:
    x = samples(ann(name), 8)
    torch.testing.assert_close(reference(unbalanced(ann(name)))(x), ann(name).module()(x), atol=1e-5, rtol=1e-5)


def clipped(x: torch.Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> torch.Tensor:
    x = F.hardtanh(a(x), -0.5, 1.5)
    x = F.leaky_relu(b(x), 0.2)
    x = torch.clamp(c(x), max=0.75)
    return F.elu(d(x), alpha=0.5)


def test_the_arguments_of_an_activation_are_kept() -> None:
    program = capture(Wired(clipped, conv(2, 3), conv(3, 3), conv(3, 3), conv(3, 2)), (torch.randn(2, 2, 5, 5),))
    x = 2 * torch.randn(8, 2, 5, 5)
    torch.testing.assert_close(reference(unbalanced(program))(x), program.module()(x), atol=1e-5, rtol=1e-5)


def test_a_prelu_has_one_function_for_each_channel() -> None:
    program = unbalanced(ann("prelu"))
    (node,) = populations(program)
    z = torch.tensor([-2.0, -0.5, 0.0, 1.0])
    slopes = ann("prelu").tensors["1.weight"]
    for channel in range(4):
        assert channel_function(node, channel)(z).tolist() == pytest.approx(F.prelu(z, slopes[channel : channel + 1]).tolist())
    assert torch.equal(float_function(node)(z.view(1, 1, 4).expand(1, 4, 4)), F.prelu(z.view(1, 1, 4).expand(1, 4, 4), slopes))


def test_an_operation_outside_the_allow_list_is_never_run() -> None:
    program = unbalanced(ann("linear"))
    note(populations(program)[0])["op"] = "os.system"
    with pytest.raises(ProgramError, match="allow-list"):
        reference(program)
