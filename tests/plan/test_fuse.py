"""Fusing: what goes into the weights and what moves before a max-pool changes no output; what would, stays where it is."""

from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, awake, captured, conv, operations
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.ir import Context, Program, Record, calls, run, text
from spikeloom.plan import Fuse, commute, fold

PICTURE, SEQUENCE, ROW, TOKENS = (2, 3, 6, 6), (2, 3, 7), (2, 3), (2, 4, 3)


def fused(model: nn.Module, *shape: int) -> tuple[Program, Record]:
    """The fused program of a model, its outputs checked against the model's, and the record of what was done."""
    torch.manual_seed(1)
    program = captured(awake(model), *shape)
    before, tensors = text(program), dict(program.tensors)
    after = run([Fuse()], program, Context())
    x = torch.randn(5, *shape[1:])
    with torch.no_grad():
        torch.testing.assert_close(after.module()(x), model(x), rtol=1e-5, atol=1e-5)
    assert text(program) == before
    assert all(program.tensors[name] is tensor for name, tensor in tensors.items())
    return after, after.records[-1]


class Named(nn.Module):
    """Two convolutions; the second one's weights already have the name that the first one's node suggests."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.conv2d = conv(3, 3, 1), nn.BatchNorm2d(3), conv(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2d(F.relu(self.norm(self.first(x))))


FOLDED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4)), SEQUENCE, ["conv1d"]),
    "conv2d": (lambda: nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU()), PICTURE, ["conv2d", "relu"]),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(3, 2, 2), nn.BatchNorm3d(2)), (2, 3, 3, 3, 3), ["conv3d"]),
    "no bias": (lambda: nn.Sequential(conv(3, 4, bias=False), nn.BatchNorm2d(4)), PICTURE, ["conv2d"]),
    "no affine": (lambda: nn.Sequential(conv(3, 4), nn.BatchNorm2d(4, affine=False)), PICTURE, ["conv2d"]),
    "same padding": (lambda: nn.Sequential(nn.Conv2d(3, 4, 2, padding="same"), nn.BatchNorm2d(4)), PICTURE, ["conv2d"]),
    "groups": (lambda: nn.Sequential(conv(3, 6, groups=3), nn.BatchNorm2d(6)), PICTURE, ["conv2d"]),
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), ROW, ["linear"]),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4)), PICTURE, ["conv_transpose2d"]),
    "transposed groups": (
        lambda: nn.Sequential(conv(3, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)),
        PICTURE,
        ["conv2d", "relu", "conv_transpose2d"],
    ),
    "transposed 1d": (lambda: nn.Sequential(nn.ConvTranspose1d(3, 4, 3), nn.BatchNorm1d(4)), SEQUENCE, ["conv_transpose1d"]),
    "scales and a norm": (lambda: Wired(lambda x, c, n: n(c(x) * 3) / 4, conv(3, 4), nn.BatchNorm2d(4)), PICTURE, ["conv2d"]),
    "scale per channel": (lambda: Wired(lambda x, c: c(x) * torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1), conv(3, 3)), PICTURE, ["conv2d"]),
    "divided per channel": (lambda: Wired(lambda x, c: c(x) / torch.tensor([[1.0, -2.0, 0.5]]), nn.Linear(3, 3)), ROW, ["linear"]),
    "scale of tokens": (lambda: Wired(lambda x, c: c(x) * torch.tensor([1.0, -2.0, 0.5]), nn.Linear(3, 3)), TOKENS, ["linear"]),
}


@pytest.mark.parametrize("case", FOLDED)
def test_norms_and_scales_go_into_the_layer_before_them(case: str) -> None:
    build, shape, wanted = FOLDED[case]
    program, record = fused(build(), *shape)
    assert operations(program) == wanted
    assert record.numbers["folded"]
    assert set(program.tensors) == {node.target for node in program.graph.nodes if node.op == "get_attr"}


def test_folded_weights_are_named_after_their_layer() -> None:
    program, record = fused(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU()), *PICTURE)
    assert text(program) == (
        "program ann\n"
        "%input_1 = input f32[2, 3, 6, 6]\n"
        "@conv2d.bias f32[4]\n"
        "@conv2d.weight f32[4, 3, 3, 3]\n"
        "%conv2d = aten.conv2d.default(%input_1, @conv2d.weight, @conv2d.bias, [1, 1], [1, 1]) : f32[2, 4, 6, 6]\n"
        "%relu = aten.relu.default(%conv2d) : f32[2, 4, 6, 6]\n"
        "return %relu"
    )
    assert record.numbers == {"dense": [], "folded": ["batch_norm_default"], "moved": [], "settled": []}


def test_weights_that_calls_share_are_folded_for_each_call_alone() -> None:
    layers = (conv(3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    program, record = fused(Wired(lambda x, c, m, n: c(F.relu(n(c(F.relu(m(c(x))))))), *layers), *PICTURE)
    assert operations(program) == ["conv2d", "relu", "conv2d", "relu", "conv2d"]
    assert len(record.numbers["folded"]) == 2
    assert torch.equal(program.tensors["layers.0.weight"], layers[0].weight)


def test_weights_already_named_like_a_node_stay_their_owners() -> None:
    program, _ = fused(Named(), *PICTURE)
    assert operations(program) == ["conv2d", "relu", "conv2d"]


NOT_FOLDED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "norm after a sum": (
        lambda: Wired(lambda x, c, n: n(c(x) + x), conv(3, 3), nn.BatchNorm2d(3)),
        PICTURE,
        ["conv2d", "add", "batch_norm"],
    ),
    "result read twice": (
        lambda: Wired(lambda x, c, n: torch.cat([n(y := c(x)), y], 1), conv(3, 3), nn.BatchNorm2d(3)),
        PICTURE,
        ["conv2d", "batch_norm", "cat"],
    ),
    "norm before": (lambda: nn.Sequential(nn.BatchNorm2d(3), conv(3, 3)), PICTURE, ["batch_norm", "conv2d"]),
    "norm over tokens, as many as channels": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), TOKENS, ["linear", "batch_norm"]),
    "norm over tokens": (lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(4)), TOKENS, ["linear", "batch_norm"]),
    "scale along rows": (lambda: Wired(lambda x, c: c(x) * torch.arange(6.0), conv(3, 3)), PICTURE, ["conv2d", "mul"]),
    "scale of another shape": (lambda: Wired(lambda x, c: c(x) * torch.ones(1, 1, 1), nn.Linear(3, 3)), ROW, ["linear", "mul"]),
    "scale to another dtype": (
        lambda: Wired(lambda x, c: (c(x) * torch.ones(3).double()).float(), nn.Linear(3, 3)),
        ROW,
        ["linear", "mul", "_to_copy"],
    ),
    "scale by a value": (lambda: Wired(lambda x, c: c(x) * x, conv(3, 3)), PICTURE, ["conv2d", "mul"]),
    "divisor": (lambda: Wired(lambda x, c: x / (c(x).square() + 1), conv(3, 3)), PICTURE, ["conv2d", "square", "add", "div"]),
}


@pytest.mark.parametrize("case", NOT_FOLDED)
def test_what_would_change_an_output_is_not_folded(case: str) -> None:
    build, shape, wanted = NOT_FOLDED[case]
    program, record = fused(build(), *shape)
    assert operations(program) == wanted
    assert record.numbers == {"dense": [], "folded": [], "moved": [], "settled": []}


def test_monotone_activations_move_before_the_max_pool() -> None:
    monotone = [F.relu, F.relu6, torch.sigmoid, torch.tanh, F.leaky_relu, F.elu, F.softplus, lambda x: x.clamp(-0.5, 0.5)]
    program = captured(Wired(lambda x: tuple(function(F.max_pool2d(x, 2)) for function in monotone)), *PICTURE)
    after, moved = commute(program)
    found = operations(program)
    assert operations(after) == [name for pool, function in zip(found[::2], found[1::2], strict=True) for name in (function, pool)]
    assert moved == [node.name for node in calls(program.graph)][1::2]
    x = torch.randn(5, 3, 6, 6)
    assert all(map(torch.equal, after.module()(x), program.module()(x)))


def test_nothing_else_moves() -> None:
    stay = [F.gelu, F.silu, F.hardswish, torch.abs, lambda x: F.leaky_relu(x, -0.5), lambda x: F.elu(x, -1.0)]
    stay += [lambda x: F.prelu(x, torch.tensor([-0.5])), lambda x: F.relu(x) + x]

    def network(x: Tensor) -> tuple[Tensor, ...]:
        return *(function(F.max_pool2d(x, 2)) for function in stay), F.relu(F.avg_pool2d(x, 2)), F.relu(x)

    program = captured(Wired(network), *PICTURE)
    after, moved = commute(program)
    assert moved == []
    assert text(after) == text(program)


def test_fold_and_move_go_together_and_a_second_time_nothing_is_left_to_do() -> None:
    program, record = fused(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()), *PICTURE)
    assert operations(program) == ["conv2d", "relu", "max_pool2d"]
    assert record.numbers == {"dense": [], "folded": ["batch_norm_default"], "moved": ["relu"], "settled": []}
    assert fold(program)[1] == commute(program)[1] == []
