"""Channels: on which axis of a value they lie, by what made it and who reads it."""

from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, captured, conv
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.convert import Spike, Unfold
from spikeloom.convert.channels import channel_axis, channels_of, fixed
from spikeloom.ir import Context, calls, constant_name, population, run
from spikeloom.neuron import Axis

ROW, TOKENS, PICTURE, SEQUENCE = (2, 4), (2, 5, 4), (2, 4, 6, 6), (2, 4, 6)
MASK = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1) > 0, -torch.inf)


def heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (2, 2)).transpose(1, 2)


def scores(x: Tensor, q: nn.Module, k: nn.Module) -> Tensor:
    return heads(q(x)) @ heads(k(x)).transpose(2, 3) / 2


def batched(x: Tensor, q: nn.Module, k: nn.Module) -> Tensor:
    """Scores whose heads lie in the batch."""
    return torch.bmm(heads(q(x)).flatten(0, 1), heads(k(x)).flatten(0, 1).transpose(1, 2))


def linear() -> nn.Module:
    return nn.Linear(4, 4)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, Axis]] = {
    "[B, C]": (lambda: nn.Sequential(linear(), nn.ReLU()), ROW, "linear", 1),
    "[B, C, H, W]": (lambda: nn.Sequential(conv(4, 4), nn.ReLU()), PICTURE, "conv2d", 1),
    "[B, C, L]": (lambda: nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU()), SEQUENCE, "conv1d", 1),
    "[B, C, D, H, W]": (lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.ReLU()), (2, 1, 3, 3, 3), "conv3d", 1),
    "[B, C, H, W], far behind its layer": (lambda: Wired(lambda x, a: F.avg_pool2d(a(x) + x, 2).relu(), conv(4, 4)), PICTURE, "relu", 1),
    "[B, L, C]": (lambda: nn.Sequential(linear(), nn.ReLU()), TOKENS, "linear", 2),
    "[B, L, C], no layer": (lambda: nn.ReLU(), TOKENS, "relu", 2),
    "[B, C, H, W], no layer": (lambda: nn.ReLU(), PICTURE, "relu", 1),
    "[B, H, W, C]": (lambda: Wired(lambda x, a, b: b(a(x)), linear(), linear()), (2, 3, 3, 4), "linear", 3),
    "[B, H, W, C], in attention": (
        lambda: Wired(lambda x, a: (y := a(x).flatten(1, 2)) @ y.transpose(1, 2), linear()),
        (2, 3, 3, 4),
        "linear",
        3,
    ),
    "[B, C, H, W], in attention": (
        lambda: Wired(lambda x, a: (y := a(x).relu().flatten(2)) @ y.transpose(1, 2), conv(4, 4)),
        PICTURE,
        "relu",
        1,
    ),
    "tokens of a convolution": (
        lambda: Wired(lambda x, a, b: b(a(x).flatten(2).transpose(1, 2)).relu(), conv(4, 4), linear()),
        PICTURE,
        "relu",
        2,
    ),
    "a product of channels last that a linear layer reads": (
        lambda: Wired(lambda x, a, b: b(a(x).permute(0, 2, 3, 1) * x.mean((1, 2, 3), keepdim=True)), conv(4, 4), linear()),
        PICTURE,
        "mul",
        3,
    ),
    "an operand of attention": (lambda: Wired(lambda x, a: (y := heads(a(x)) + 1) @ y.transpose(2, 3), linear()), TOKENS, "add", (1, 3)),
    "what attention gives": (
        lambda: Wired(lambda x, a, b: a(scores(x, a, b) @ heads(x)[:, :, :, [0, 1, 0, 1]]), linear(), linear()),
        TOKENS,
        "matmul_1",
        (1, 3),
    ),
    "scores": (lambda: Wired(lambda x, a, b: scores(x, a, b).amax(-1), linear(), linear()), TOKENS, "div", 1),
    "scores, masked": (lambda: Wired(lambda x, a, b: (scores(x, a, b) + MASK).amax(-1), linear(), linear()), TOKENS, "add", 1),
    "scores, masked by what the input says": (
        lambda: Wired(lambda x, a, b: (scores(x, a, b) + x.mean(2)[:, None, None]).amax(-1), linear(), linear()),
        TOKENS,
        "add",
        1,
    ),
    "a softmax of scores": (
        lambda: Wired(lambda x, a, b: scores(x, a, b).softmax(-1) @ heads(x), linear(), linear()),
        TOKENS,
        "softmax",
        1,
    ),
    "scores, heads in the batch": (lambda: Wired(lambda x, a, b: batched(x, a, b).amax(-1), linear(), linear()), TOKENS, "bmm", 3),
    "a maximum that is of no scores": (lambda: Wired(lambda x, a: a(x).amax(1), linear()), TOKENS, "linear", 2),
}


@pytest.mark.parametrize("case", CASES)
def test_channels_lie_where_the_value_was_made_to_have_them(case: str) -> None:
    build, shape, name, wanted = CASES[case]
    program = captured(build(), *shape)
    node = next(node for node in calls(program.graph) if name in (node.name, node.name.split("_")[0]))
    assert channel_axis(node, list(node.users)) == wanted


def test_channels_are_counted_over_all_their_axes() -> None:
    node = next(iter(calls(captured(nn.ReLU(), 2, 3, 5, 4).graph)))
    assert [channels_of(node, axis) for axis in (1, 3, (1, 3), (3, 1), 4, (1, 4))] == [3, 4, 12, 12, 0, 0]


def test_a_size_that_varies_is_no_channel_axis() -> None:
    node = next(iter(calls(captured(nn.ReLU(), 2, 3, 5, 4).graph)))
    assert [fixed(node, axis, {5}) for axis in (1, 2, (1, 3), (1, 2), (2, 3), 4)] == [1, 4, (1, 3), 1, 3, 4]


def test_populations_have_a_scale_for_each_channel_and_scores_one_a_head_or_one_for_all() -> None:
    model = Wired(lambda x, q, k: F.scaled_dot_product_attention(heads(q(x)), heads(k(x)), heads(x)), linear(), linear())
    found = scales(model)
    assert found == {"linear": (2, (4,)), "linear_1": (2, (4,)), "scores": (1, (2,))}
    found = scales(Wired(lambda x, q, k: batched(x, q, k).softmax(-1), linear(), linear()))
    assert found == {"linear": (2, (4,)), "linear_1": (2, (4,)), "scores": (3, ())}


def scales(model: nn.Module) -> dict[str, tuple[Axis, tuple[int, ...]]]:
    """The axis and the shape of the steps of every identity population; what a maximum reads is 'scores'."""
    program = run([Unfold(), Spike()], captured(model, *TOKENS), Context())
    found: dict[str, tuple[Axis, tuple[int, ...]]] = {}
    for node in calls(program.graph):
        if node.target is population:
            name = "scores" if any("amax" in user.name for user in node.users) else node.name.removeprefix("spike_")
            found[name] = node.kwargs["axis"], tuple(program.tensors[constant_name(node.args[1])].shape)
    return found
