"""Settling: linear layers move to where the batch stands in front, no output changes, and what need not move stays."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, captured, operations
from torch import Tensor, nn

from spikeloom.ir import Context, Program, astray, calls, clone, name_of, run, text, verify
from spikeloom.plan import Fuse
from spikeloom.plan.settle import settle

TOKENS = (2, 5, 6)


def attend(x: Tensor, layer: nn.Module, weights: bool = False, other: bool = False) -> Tensor:
    return layer(x, x + 1 if other else x, x, need_weights=weights)[0]


def awake_attention() -> nn.MultiheadAttention:
    """Attention whose biases are not 0: a layer that lost its own would not show."""
    layer = nn.MultiheadAttention(6, 2, batch_first=True)
    for bias in (layer.in_proj_bias, layer.out_proj.bias):
        nn.init.normal_(bias)
    return layer


def strays(program: Program) -> list[str]:
    """The linear layers and attention whose result does not have its batch in front."""
    stray = astray(program)
    return [node.name for node in calls(program.graph) if node in stray and name_of(node.target).startswith(("aten.linear", "aten.scaled"))]


MOVED: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "self-attention": (lambda: Wired(attend, awake_attention()), ["linear", "linear_1"]),
    "attention that gives its weights": (lambda: Wired(lambda x, a: attend(x, a, weights=True), awake_attention()), ["linear", "linear_1"]),
    "attention to something else": (
        lambda: Wired(lambda x, a: attend(x, a, other=True), awake_attention()),
        ["linear", "linear_1", "linear_2", "linear_3"],
    ),
    "rows in another order": (
        lambda: Wired(lambda x, a: a(x.permute(1, 0, 2).reshape(-1, 6)).view(5, -1, 4).transpose(0, 1), nn.Linear(6, 4)),
        ["linear"],
    ),
    "read twice, moved before": (
        lambda: Wired(lambda x, a: a(y := x.transpose(0, 1)).mean(0) + y.mean((0, 2))[:, None], nn.Linear(6, 4)),
        ["linear"],
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_layers_move_to_where_the_batch_is_and_no_output_changes(case: str) -> None:
    build, wanted = MOVED[case]
    model = build().eval()
    program = captured(model, *TOKENS)
    assert strays(program)[: len(wanted)] == wanted
    before = text(program)
    after = run([Fuse()], program, Context())
    assert text(program) == before
    assert after.records[-1].numbers["settled"] == wanted
    assert strays(after) == []
    verify(after)
    x = torch.randn(7, *TOKENS[1:])
    with torch.no_grad():
        torch.testing.assert_close(after.module()(x), model(x), rtol=1e-5, atol=1e-5)
    assert settle(after)[1] == []


STAY: dict[str, Callable[[], nn.Module]] = {
    "in front already": lambda: Wired(lambda x, a: a(x).transpose(1, 2), nn.Linear(6, 4)),
    "tokens and batch together, the batch outside": lambda: Wired(lambda x, a: a(x.reshape(-1, 6)), nn.Linear(6, 4)),
    "rows that are cut": lambda: Wired(lambda x, a: a(x.reshape(-1, 2, 15).transpose(0, 1)[..., :3]).sum(0), nn.Linear(3, 4)),
    "rows that are columns": lambda: Wired(lambda x, a: a(x.permute(2, 0, 1)).sum(0), nn.Linear(5, 4)),
    "a layer that something else reads": lambda: Wired(
        lambda x, a: (y := a(x.transpose(0, 1).relu())).transpose(0, 1) + y.sum(0)[:, None], nn.Linear(6, 4)
    ),
}


@pytest.mark.parametrize("case", STAY)
def test_other_layers_stay_where_they_are(case: str) -> None:
    program = captured(STAY[case](), *TOKENS)
    after, moved = settle(program)
    assert moved == []
    assert operations(after) == operations(program)


def test_the_batch_is_in_front_though_heads_or_tokens_are_merged_into_it() -> None:
    """Outside of it nothing may lie: [B·L, C] and [B·H, L, D] are in front, [L·B, C] and [H·B, L, D] are not."""

    def function(x: Tensor) -> tuple[Tensor, ...]:
        return x.reshape(-1, 6), x.transpose(0, 1).reshape(-1, 6), x.flatten(0, 1), x.transpose(0, 1).flatten(0, 1), x[None], x[0]

    program = captured(Wired(function), *TOKENS)
    (outputs,) = [node for node in program.graph.nodes if node.op == "output"]
    stray = astray(program)
    assert [value in stray for value in outputs.args[0]] == [False, True, False, True, True, True]


def test_a_batch_of_a_fixed_size_is_nowhere_astray() -> None:
    program = captured(Wired(lambda x: x.transpose(0, 1).reshape(-1, 6)), *TOKENS)
    assert astray(program) != set()
    assert astray(program.replaced(inputs=(dataclasses.replace(program.inputs[0], dynamic=False),))) == set()
    inside = clone(program.graph)
    next(node for node in calls(inside) if name_of(node.target) == "aten.reshape.default").update_arg(1, [10, 6])
    assert astray(program.replaced(graph=inside)) == set()
