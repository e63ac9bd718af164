"""Comparisons and operations of several outputs: what is a function of one value becomes a staircase, what is not is refused."""

from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, captured, conv
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance
from spikeloom.capture import capture
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Context, Program, calls, dynamic, run
from spikeloom.ir.comparisons import casts, judges
from spikeloom.plan import Fuse, Plan, plan
from spikeloom.simulate import SpikingModel

CONVERTED: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky by where": lambda y: torch.where(y > 0, y, 0.1 * y),
    "ReLU by where": lambda y: torch.where(y > 0, y, torch.zeros_like(y)),
    "where with a tensor of one number": lambda y: torch.where(y > 0.2, y, torch.tensor(0.2)),
    "a step": lambda y: torch.where(y > 0, 1.0, 0.0),
    "gated by itself": lambda y: y * (y > 0.3),
    "a band": lambda y: y * ((y > -0.5) & (y < 0.5)),
    "a cast comparison": lambda y: y * (y >= 0.3).float(),
    "filled": lambda y: y.masked_fill(y < 0, 0.5),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": nn.Threshold(0.1, 0.2),
    "RReLU": lambda y: F.rrelu(y, training=False),
}
SEVERAL: dict[str, Callable[[Tensor], Tensor]] = {
    "adaptive max-pool": nn.AdaptiveMaxPool2d(3),
    "batch norm without statistics": nn.BatchNorm2d(4, track_running_stats=False),
}
REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "one value chooses others": (lambda y: torch.where(y > 0, y, y.flip(1)), "gt"),
    "compared with a mean": (lambda y: y * (y > y.mean((2, 3), keepdim=True)), "gt"),
    "compared with zero": (lambda y: torch.where(y.relu() == 0, y, y.flip(1)), "eq"),
    "cut to whole numbers": (lambda y: y * y.flip(1).int(), "_to_copy"),
    "indices of a pool": (lambda y: F.adaptive_max_pool2d(y, 3, return_indices=True)[1] * 0.1, "adaptive_max_pool2d"),
}


def network(function: Callable[[Tensor], Tensor]) -> nn.Module:
    return Wired(lambda x, a, b: b(function(a(x))).mean((2, 3)), conv(3, 4), conv(4, 2)).eval()


def spiking(program: Program, x: Tensor, functions: str = "staircase") -> Program:
    return run([Plan(), Fuse(), Unfold(), Spike(levels=127, functions=functions), Balance()], program, Context(calibration=lambda: [(x,)]))


def error_of(model: nn.Module, made: Program, x: Tensor, timesteps: int) -> float:
    with torch.no_grad():
        return float((SpikingModel(made, timesteps=timesteps)(x) - model(x)).norm() / model(x).norm())


@pytest.mark.parametrize("case", CONVERTED)
def test_a_function_of_one_value_that_compares_is_one_staircase(case: str) -> None:
    model, x = network(CONVERTED[case]), torch.randn(16, 3, 6, 6)
    program = captured(model, 2, 3, 6, 6)
    rows = [row for row in plan(program) if row.becomes != "constant"]
    assert {row.becomes for row in rows[1:-2]} == {"staircase population"}
    assert rows[0].reason == "reads the analog input: multiply-accumulates"
    made = spiking(program, x)
    assert all(error_of(model, made, x, steps) < 0.02 for steps in (1, 2))
    assert error_of(model, spiking(program, x, functions="quantised"), x, 1) < 0.02


@pytest.mark.parametrize("case", SEVERAL)
def test_an_operation_of_several_outputs_runs_at_one_step_and_at_two(case: str) -> None:
    model, x = network(SEVERAL[case]), torch.randn(16, 3, 6, 6)
    made = spiking(captured(model, 2, 3, 6, 6), x)
    assert all(error_of(model, made, x, steps) < 0.02 for steps in (1, 2))
    snn = SpikingModel(made, timesteps=2)
    first, state = snn.step(x)
    torch.testing.assert_close((first + snn.step(x, state=state)[0]) / 2, snn(x), atol=1e-5, rtol=0)
    assert all(row.total_pj > 0 for row in snn.profile(x).energy)


@pytest.mark.parametrize("case", REFUSED)
def test_a_comparison_of_several_values_is_refused_with_a_way_on(case: str) -> None:
    function, operation = REFUSED[case]
    (bad,) = [row for row in plan(captured(network(function), 2, 3, 6, 6)) if row.status == "unsupported"]
    assert bad.operation.split(".")[1] == operation
    assert bad.reason
    assert bad.todo


def test_a_comparison_of_the_input_is_a_constant_at_every_step() -> None:
    model = Wired(lambda x, a, b: b(a(x * (x.amax(1, keepdim=True) > 0.2)).relu()).mean((2, 3)), conv(3, 4), conv(4, 2))
    x = torch.randn(16, 3, 6, 6)
    program = captured(model, 2, 3, 6, 6)
    assert [row.becomes for row in plan(program) if row.node == "gt"] == ["constant"]
    made = spiking(program, x)
    assert all(error_of(model, made, x, steps) < 0.02 for steps in (1, 2))


def test_a_mask_made_of_tokens_is_a_constant() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(torch.relu(self.words(tokens)) * (tokens != 0).unsqueeze(-1).float()).mean(1)

    rows = plan(capture(Masked(), (torch.randint(0, 9, (2, 5)),)))
    assert {row.node: row.becomes for row in rows}["ne"] == "constant"
    assert all(row.status != "unsupported" for row in rows)
    with pytest.raises(UnsupportedError, match="compares"):
        run([Plan()], captured(network(REFUSED["compared with a mean"][0]), 2, 3, 6, 6), Context())


def test_a_comparison_of_the_normed_input_is_a_constant_and_of_what_a_layer_weighs_it_is_none() -> None:
    model = Wired(lambda x, n, a: a(x * (n(x) > 0.2)) * (a(x) > 0.1), nn.BatchNorm2d(3), conv(3, 3)).eval()
    rows = [row for row in plan(captured(model, 2, 3, 6, 6)) if row.node.startswith("gt")]
    assert [(row.becomes == "constant", row.status == "unsupported") for row in rows] == [(True, False), (False, True)]


def test_a_cast_to_floating_numbers_judges_nothing() -> None:
    program = captured(Wired(lambda x, a: a(x).to(torch.float64) + a(x).to(torch.int32), conv(3, 4)).eval(), 2, 3, 6, 6)
    live = dynamic(program.graph)
    assert [judges(node, live) for node in calls(program.graph) if casts(node)] == [False, True]
