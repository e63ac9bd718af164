"""Patches: the rows of a layer's input, multiplied by its weights, are the rows of its output."""

from typing import Any

import pytest
import torch
from tests.ir.networks import captured
from torch import fx, nn

from spikeloom.ir import Program, calls, groups_of, weighted, weights_of
from spikeloom.simulate.patches import rows, solvable

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv2d": (nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "padding": (nn.Conv2d(4, 6, 3, padding=(1, 2)), (4, 7, 8)),
    "stride": (nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=1), (4, 7, 8)),
    "dilation": (nn.Conv2d(4, 6, 3, dilation=(2, 1), padding=2), (4, 7, 8)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, stride=2), (4, 7, 8)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 7, 8)),
    "pointwise": (nn.Conv2d(4, 6, 1), (4, 7, 8)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (4, 11)),
    "linear": (nn.Linear(5, 3), (5,)),
    "linear on tokens": (nn.Linear(5, 3), (4, 5)),
}


def layer_of(program: Program) -> fx.Node:
    return next(node for node in calls(program.graph) if weighted(node))


def taken(name: str, batch: int, positions: int, seed: int = 0) -> tuple[Any, ...]:
    layer, shape = LAYERS[name]
    program = captured(layer.eval(), 2, *shape)
    node, x = layer_of(program), torch.randn(batch, *shape)
    weight, bias = weights_of(node, program.tensors)
    assert bias is not None
    with torch.no_grad():
        y = layer(x)
    inputs, outputs = rows(node, x, y, weight, positions, torch.Generator().manual_seed(seed))
    return inputs, outputs, weight, bias, groups_of(node), y


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_weights_are_the_layers_outputs(name: str) -> None:
    inputs, outputs, weight, bias, groups, y = taken(name, 3, 5)
    flat = weight.reshape(groups, weight.shape[0] // groups, -1)
    torch.testing.assert_close(inputs @ flat.transpose(1, 2) + bias.view(groups, 1, -1), outputs, atol=1e-5, rtol=1e-5)
    assert len(torch.cat([outputs.flatten(), y.flatten()]).unique()) == len(y.unique())  # each one is an output of the layer


@pytest.mark.parametrize(("name", "each"), [("conv2d", 30), ("stride", 4 * 3), ("conv1d", 5), ("linear on tokens", 4)])
def test_all_places_are_taken_once_where_all_are_asked_for(name: str, each: int) -> None:
    inputs, outputs, _, _, _, y = taken(name, 3, 10_000)
    assert inputs.shape[1] == outputs.shape[1] == 3 * each
    assert torch.equal(outputs.flatten().sort().values, y.flatten().sort().values)


def test_places_are_drawn_from_the_generator_alone() -> None:
    layer, shape = LAYERS["conv2d"]
    program = captured(layer, 2, *shape)
    node, x = layer_of(program), torch.randn(2, *shape)
    weight, y = weights_of(node, program.tensors)[0], layer(x).detach()
    first, again, other = (rows(node, x, y, weight, 4, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert first.shape == (1, 8, 36)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_come_one_after_the_other() -> None:
    """The first half of the rows is the first half of the samples: the two halves that a ridge is chosen on share no sample."""
    layer, shape = LAYERS["conv2d"]
    program = captured(layer, 2, *shape)
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, *shape)
    weight = weights_of(layer_of(program), program.tensors)[0]
    inputs, _ = rows(layer_of(program), x, torch.zeros(4, 6, 5, 6), weight, 3, torch.Generator())
    assert inputs[0, :, 0].tolist() == [0.0] * 3 + [1.0] * 3 + [2.0] * 3 + [3.0] * 3


@pytest.mark.parametrize(
    ("layer", "shape", "known"),
    [
        (nn.Conv2d(2, 3, 3), (2, 5, 5), True),
        (nn.Conv1d(2, 3, 3), (2, 5), True),
        (nn.Linear(2, 3), (2,), True),
        (nn.ConvTranspose2d(2, 3, 3), (2, 5, 5), False),
        (nn.Conv3d(2, 3, 3), (2, 5, 5, 5), False),
    ],
)
def test_which_layers_are_known(layer: nn.Module, shape: tuple[int, ...], known: bool) -> None:
    assert solvable(layer_of(captured(layer, 2, *shape))) is known
