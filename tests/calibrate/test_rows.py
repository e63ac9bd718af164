"""Norms of rows of very different sizes: the small rows keep their values, as the class token beside patches must."""

import pytest
import torch
from torch import Tensor, nn

from spikeloom.calibrate import Balance, Compensate, observe
from spikeloom.calibrate.observe import is_square
from spikeloom.capture import capture
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Pass, Program, run
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import executable, populations

CHANNELS, ROWS, SMALL = 24, 5, 0.02


class RootMeanSquare(nn.Module):
    """x / √(mean x² + ε), the square spelled as language models spell it."""

    def __init__(self, spelled: str) -> None:
        super().__init__()
        self.spelled = spelled

    def forward(self, x: Tensor) -> Tensor:
        squares = x.pow(2) if self.spelled == "power" else x * x
        return x * torch.rsqrt(squares.mean(-1, keepdim=True) + 1e-6)


def norm(kind: str) -> nn.Module:
    torch.manual_seed(0)
    first: dict[str, nn.Module] = {"layer": nn.LayerNorm(CHANNELS)}
    return nn.Sequential(first.get(kind) or RootMeanSquare(kind), nn.Linear(CHANNELS, 8)).eval()


def rows() -> Tensor:
    """Texts of five tokens; the first is fifty times smaller than the others."""
    x = torch.randn(32, ROWS, CHANNELS, generator=torch.Generator().manual_seed(1))
    x[:, 0] *= SMALL
    return x


def converted(model: nn.Module, x: Tensor, levels: int, *more: Pass) -> Program:
    chain: list[Pass] = [Plan(), Fuse(), Unfold(), Spike(levels=levels), Balance(method="maximum"), *more]
    return run(chain, capture(model, (x,)), Context(calibration=lambda: [(x,)]))


@torch.no_grad()
def errors(model: nn.Module, program: Program, x: Tensor) -> tuple[float, float]:
    """The relative error of the small rows and of the others."""
    found, wanted = executable(program, 1)(x), model(x)
    small, others = (float((found[:, at] - wanted[:, at]).norm() / wanted[:, at].norm()) for at in (slice(0, 1), slice(1, None)))
    return small, others


@pytest.mark.parametrize("kind", ["layer", "power", "product"])
def test_small_rows_are_normalised_as_well_as_large_ones(kind: str) -> None:
    model, x = norm(kind), rows()
    program = converted(model, x, 31)
    small, others = errors(model, program, x)
    assert others < 0.02
    assert small < 2.5 * others  # 20 times where all squares count alike
    assert [is_square(node) for node in populations(program)].count(True) == 1


def test_small_rows_stay_so_when_compensated() -> None:
    model, x = norm("layer"), rows()
    small, others = errors(model, converted(model, x, 31, Compensate()), x)
    assert others < 0.02
    assert small < 2.5 * others


def test_what_counts_is_the_error_of_a_row_against_its_size() -> None:
    x = rows()
    program = converted(norm("layer"), x, 31)
    square, root = (next(node for node in populations(program) if node.kwargs["function"] == name) for name in ("square", "sqrt"))
    seen = observe(program, lambda: iter([(x,)]), lambda: None)
    squares, roots = seen[square.name], seen[root.name]
    inner = squares.centres.abs() < 3 * SMALL
    assert float(squares.histogram[inner].sum() / squares.histogram.sum()) < 0.3
    assert float(squares.importance[inner].sum() / squares.importance.sum()) > 0.99
    assert roots.logarithmic
    torch.testing.assert_close(roots.edges.log().diff(), roots.edges.log().diff()[:, :1].expand(-1, roots.histogram.shape[1]))
    assert float(roots.histogram.sum()) == x.shape[0] * ROWS
