"""Dense layers: `addmm` becomes a linear layer on the value itself where rows are laid out and back, and nothing changes."""

import torch
from tests.ir.networks import Wired, captured, operations
from torch import Tensor, nn

from spikeloom.ir import Context, Program, calls, run, verify
from spikeloom.plan import Fuse


class Columns(nn.Module):
    """GPT-2's layer: weights as columns."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)


def fused(model: nn.Module, *shape: int) -> tuple[Program, Program]:
    program = captured(model.eval(), *shape)
    return program, run([Fuse()], program, Context())


def test_addmm_on_rows_becomes_a_linear_layer_on_the_value() -> None:
    before, after = fused(Wired(lambda x, a, b: b(a(x).relu()), Columns(6, 8), Columns(8, 4)), 2, 5, 6)
    assert "addmm" in operations(before)
    assert operations(after) == ["linear", "relu", "linear"]
    assert after.records[-1].numbers["dense"] == ["addmm", "addmm_1"]
    verify(after)
    x = torch.randn(3, 5, 6)
    torch.testing.assert_close(after.module()(x), before.module()(x))


def test_addmm_on_rows_that_stay_rows_reads_them() -> None:
    before, after = fused(Wired(lambda x, a: torch.addmm(a.bias, x.flatten(0, 1), a.weight).relu(), Columns(6, 8)), 2, 5, 6)
    assert operations(after)[-2:] == ["linear", "relu"]
    assert len(next(node for node in calls(after.graph) if "linear" in str(node.target)).meta["spec"][0]) == 2
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(after.module()(x), before.module()(x))


def test_a_product_that_is_no_layer_stays() -> None:
    scaled, after = fused(Wired(lambda x, a: torch.addmm(a.bias, x, a.weight, alpha=2.0), Columns(6, 8)), 2, 6)
    assert operations(after) == operations(scaled) == ["addmm"]
    _, after = fused(Wired(lambda x, a: torch.addmm(a.bias, x, x.t() @ x @ a.weight), Columns(6, 8)), 2, 6)
    assert "addmm" in operations(after)
