"""Scalar functions written out: however a model spells one, it is one function of one value; what is of two values is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.ir.networks import Wired, captured, operations
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Program, calls, evaluated, load, note, run, save, scalars, staircase, told
from spikeloom.simulate import SpikingModel


def gelu_new(x: Tensor) -> Tensor:
    """GELU as GPT-2 writes it."""
    return 0.5 * x * (1.0 + torch.tanh(0.7978845608 * (x + 0.044715 * torch.pow(x, 3.0))))


def fast_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x)))


WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "GELU of GPT-2": gelu_new,
    "GELU of BLOOM": fast_gelu,
    "GELU with erf": lambda x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5)),
    "QuickGELU": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": lambda x: x * torch.sigmoid(x),
    "Mish": lambda x: x * torch.tanh(F.softplus(x)),
    "hard-swish": lambda x: x * F.relu6(x + 3.0) / 6.0,
    "hard-swish by clip": lambda x: x * (x + 3.0).clamp(0, 6).div(6.0),
    "cube": lambda x: x**3,
    "cube by products": lambda x: x * x * x,
    "squared ReLU": lambda x: F.relu(x) * F.relu(x),
    "1 minus, by keyword": lambda x: torch.rsub(torch.sin(x), 1.0, alpha=2),
    "clipped below and squared": lambda x: x.clamp(min=-0.25) * x.clamp(min=-0.25),
}


def network(function: Callable[[Tensor], Tensor]) -> Program:
    return captured(Wired(lambda x, a, b: b(function(a(x))), nn.Linear(3, 4), nn.Linear(4, 2)), 2, 3)


@pytest.mark.parametrize("case", WRITTEN)
def test_a_function_written_out_is_one_scalar_whose_rows_compute_it(case: str) -> None:
    program = network(WRITTEN[case])
    ((end, scalar),) = scalars(program.graph).items()
    assert scalar.source.name == "linear"
    assert scalar.nodes[-1] is end
    assert [node.name for node in scalar.nodes] == [node.name for node in calls(program.graph) if not node.name.startswith("linear")]
    rows = told(scalar)
    again = json.loads(json.dumps(rows, allow_nan=False))
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(evaluated(again)(x), WRITTEN[case](x))
    assert torch.equal(evaluated(again)(x), evaluated(rows)(x))
    torch.testing.assert_close(evaluated(rows)(x[:6].view(2, 3).double()), WRITTEN[case](x.double())[:6].view(2, 3))


@pytest.mark.parametrize("case", ["GELU of GPT-2", "QuickGELU", "hard-swish", "cube by products"])
def test_in_spikes_it_is_one_population_that_comes_back_from_a_folder(case: str, tmp_path: Path) -> None:
    program, x = network(WRITTEN[case]), torch.randn(256, 3)
    made = run([Unfold(), Spike(levels=127), Balance()], program, Context(calibration=lambda: [(x,)]))
    assert operations(made) == ["linear", "staircase", "linear"]
    assert made.records[-2].numbers == {"populations": 1, "floating": []}
    exact = program.module()(x)
    assert float((SpikingModel(made)(x) - exact).norm() / exact.norm()) < 0.01
    save(made, tmp_path / "saved")
    back = load(tmp_path / "saved")
    (before,), (after,) = ([node for node in calls(each.graph) if node.target is staircase] for each in (made, back))
    assert note(after) == note(before)
    assert torch.equal(SpikingModel(back)(x), SpikingModel(made)(x))
    torch.testing.assert_close(evaluated(note(after)["rows"])(x), WRITTEN[case](x))


NONE: dict[str, Callable[[Tensor, nn.Module, nn.Module], Tensor]] = {
    "SwiGLU": lambda x, a, b: F.silu(a(x)) * b(x),
    "GeGLU of halves": lambda x, a, b: F.gelu((y := a(x))[:, :2]) * y[:, 2:],
    "activations in a chain": lambda x, a, b: torch.tanh(2 * F.relu(a(x)) + 1),
    "a constant for each channel": lambda x, a, b: (y := a(x)) * torch.sigmoid(y * torch.arange(4.0)),
    "the mean of all": lambda x, a, b: (y := a(x)) * y.mean(1, keepdim=True),
    "other places of the same": lambda x, a, b: (y := a(x)) * torch.sigmoid(y.flip(1)),
    "a layer between": lambda x, a, b: (y := torch.sigmoid(a(x))) * torch.sigmoid(b(y)),
    "broadcast": lambda x, a, b: (y := a(x)[:, :1].mean(1)) * y[:, None],
}


@pytest.mark.parametrize("case", NONE)
def test_what_is_of_several_values_or_has_neurons_already_is_none(case: str) -> None:
    assert (
        scalars(captured(Wired(NONE[case], nn.Linear(3, 4), nn.Linear(4, 4) if "between" in case else nn.Linear(3, 4)), 2, 3).graph) == {}
    )


def test_what_others_read_on_the_way_stays_for_them() -> None:
    """Both products end a function of the layer; the sigmoid has a neuron of its own for who reads it alone."""

    def function(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> Tensor:
        y = a(x)
        s = torch.sigmoid(y)
        z = y * s
        return b(s) + c(z) + d(z * torch.tanh(z))

    model = Wired(function, nn.Linear(3, 4), *(nn.Linear(4, 2) for _ in range(3)))
    program, x = captured(model, 2, 3), torch.randn(256, 3)
    found = scalars(program.graph)
    assert {scalar.source.name for scalar in found.values()} == {"linear"}
    assert [len(scalar.nodes) for scalar in found.values()] == [2, 4]
    made = run([Spike(levels=127), Balance()], program, Context(calibration=lambda: [(x,)]))
    assert operations(made).count("staircase") == 3
    assert made.records[-2].numbers["populations"] == 3
    with torch.no_grad():
        assert float((SpikingModel(made)(x) - model(x)).norm() / model(x).norm()) < 0.01


def test_a_size_is_no_number() -> None:
    program = captured(Wired(lambda x, a: torch.sin(a(x)) / x.shape[0], nn.Linear(3, 4)), 2, 3)
    assert [node.name for node in scalars(program.graph)] == ["sin"]


def test_only_operations_of_the_tables_are_called() -> None:
    with pytest.raises(LookupError, match=r"outside the allow-list: aten.eval.default"):
        evaluated([["aten.relu.default", [{"row": -1}], {}], ["aten.eval.default", [{"row": 0}], {}]])(torch.zeros(2))
