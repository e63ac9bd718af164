"""An ANN's form in logic-gated layers: geometry, weights at the start, and what has no such form."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Context, Program, run
from spikeloom.logic import Gate, OrPool2d, TernaryConv2d, TernaryLinear, freeze, netlist, ternary, turned
from spikeloom.logic.netlist import Count, Fire, Sum
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import SpikingModel


def fused(model: nn.Module, *shape: int) -> Program:
    """The model in the ANN dialect, its norms folded."""
    return run([Plan(), Fuse()], capture(model.eval(), (torch.rand(2, *shape),)), Context())


class Block(nn.Module):
    """A residual block, an average pool and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(6), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.norm(self.second(x)) + x)
        return self.last(torch.cat([x.mean((2, 3)), nn.functional.avg_pool2d(x, 8).flatten(1)], 1))


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(("model", "shape"), [(small(), (1, 13, 13)), (Block(), (2, 8, 8))])
def test_runs_trains_and_freezes(model: nn.Module, shape: tuple[int, ...], levels: int) -> None:
    network = turned(fused(model, *shape), (0.3, 0.6), levels)
    x = torch.rand(16, *shape)
    for _ in range(3):
        network(x).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    program = freeze(network.eval(), x[:2])
    assert torch.allclose(SpikingModel(program)(x) * program.settings["logit_scale"], network(x), atol=1e-4)


def test_a_shortcut_adds_the_counts_that_its_gate_reads() -> None:
    network = turned(fused(Block(), 2, 8, 8), (0.5,))
    steps = netlist(freeze(network.eval(), torch.rand(2, 2, 8, 8))).steps
    (added,) = [step for step in steps if isinstance(step, Sum)]
    layers = {step.name: step for step in steps if isinstance(step, Count)}
    assert sorted(layers[read].codes.shape[1] for read in added.reads) == [2, 6]  # both convolutions, and no gate between
    readers = [step for step in steps if added.name in step.reads]
    assert [type(step) for step in readers] == [Fire]


def test_each_activation_is_a_gate_for_each_level_and_each_pool_an_or() -> None:
    network = turned(fused(small(), 1, 13, 13), (0.5,), 3)
    gates = [len(layer.shift) for layer in network.modules() if isinstance(layer, Gate)]
    assert gates == [12, 24]
    assert sum(isinstance(layer, OrPool2d) for layer in network.modules()) == 1
    shifts = next(layer for layer in network.modules() if isinstance(layer, Gate)).shift
    assert bool((shifts[:3].diff() < 0).all())  # thresholds of one neuron rise


def test_weights_begin_at_the_anns() -> None:
    model = small()
    network = turned(fused(model, 1, 13, 13), (0.5,))
    conv = next(layer for layer in network.modules() if isinstance(layer, TernaryConv2d))
    scale = model[1].weight / (model[1].running_var + model[1].eps).sqrt()  # batch norm folded
    folded = (model[0].weight * scale.view(-1, 1, 1, 1)).detach()
    large = folded.abs() > folded.abs().flatten(1).mean(1).view(-1, 1, 1, 1)
    assert torch.equal(ternary(conv.latent.detach())[large], folded.sign()[large])


def test_the_weights_of_a_flattened_picture_lie_as_its_bits_do() -> None:
    torch.manual_seed(1)
    network = turned(fused(small(), 1, 13, 13), (0.5,), 2)
    linear = next(layer for layer in network.modules() if isinstance(layer, TernaryLinear))
    rows = linear.latent.detach().view(8, 4, 2, 9)  # channel, gate, place
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])
    assert not torch.equal(rows[:, 0], rows[:, 1])


@pytest.mark.parametrize(
    ("model", "shape", "found"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 81, 3)), (1, 13, 13), "conv2d"),
        (nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)), (6,), "layer_norm"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), (1, 13, 13), "one row of logits"),
    ],
)
def test_what_has_no_such_form_is_named(model: nn.Module, shape: tuple[int, ...], found: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        turned(fused(model, *shape), (0.5,))
    assert found in str(error.value)


def test_dynamic_names_do_not_matter() -> None:
    class Named(nn.Module):
        def forward(self, input: Tensor) -> Any:
            return torch.relu(input.flatten(1)) @ torch.ones(4, 3)

    with pytest.raises(UnsupportedError):
        turned(fused(Named(), 4), (0.5,))
