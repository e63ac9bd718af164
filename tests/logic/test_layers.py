"""Logic-gated layers: what they compute, what passes back through them, and what is refused."""

import pytest
import torch

from spikeloom.errors import ConfigError
from spikeloom.logic import Bits, Gate, OrPool2d, Readout, Residual, TernaryConv2d, TernaryLinear, convolutional, fully_connected, ternary


def spikes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape).float()


def test_a_weight_is_zero_below_its_share_of_the_mean_of_its_own_output() -> None:
    w = torch.tensor([[1.0, -1.0, 0.3, -0.1], [10.0, -10.0, 3.0, -8.0]])
    assert ternary(w, 0.7).tolist() == [[1, -1, 0, 0], [1, -1, 0, -1]]  # edges 0.42 and 5.425
    assert ternary(w, 0.0).tolist() == [[1, -1, 1, -1], [1, -1, 1, -1]]


def test_gradients_pass_straight_through_ternary_weights() -> None:
    w = torch.randn(3, 4, requires_grad=True)
    given = torch.randn(3, 4)
    (ternary(w) * given).sum().backward()
    assert torch.equal(w.grad, given)


def test_a_layer_counts_whole_numbers() -> None:
    layer, x = TernaryLinear(30, 5), spikes(7, 30)
    assert torch.equal(layer(x), x @ ternary(layer.latent).T)
    conv = TernaryConv2d(4, 6, (3, 2), stride=2, padding=1, groups=2)
    counted = conv(spikes(2, 4, 7, 6))
    assert counted.shape == (2, 6, 4, 4)
    assert torch.equal(counted, counted.round())


def test_a_gate_in_evaluation_is_its_whole_threshold() -> None:
    gate = Gate(3)
    gate.mean.copy_(torch.tensor([0.2, 4.0, -3.7]))
    gate.variance.copy_(torch.tensor([4.0, 1.0, 9.0]))
    gate.shift.data.copy_(torch.tensor([0.0, 1.0, -0.5]))
    assert gate.thresholds().tolist() == [1, 3, -2]  # ⌈0.2⌉, ⌈4 - 1.000005⌉, ⌈-3.7 + 1.5⌉
    counts = torch.arange(-6.0, 7.0)[:, None].expand(-1, 3)
    assert torch.equal(gate.eval()(counts), (counts >= gate.thresholds()).float())


@pytest.mark.parametrize("shape", [(64, 3), (16, 3, 5, 4)])
def test_the_threshold_folds_what_training_compares(shape: tuple[int, ...]) -> None:
    """(c - μ)/σ + β ≥ 0, with the running statistics, is c ≥ ⌈μ - βσ⌉ for whole counts."""
    gate, counts = Gate(3), torch.randint(-9, 10, shape).float()
    gate.mean.copy_(torch.randn(3))
    gate.variance.copy_(torch.rand(3) * 9 + 0.1)
    gate.shift.data.copy_(torch.randn(3))
    along = (1, -1, *(1,) * (len(shape) - 2))
    z = (counts - gate.mean.view(along)) / (gate.variance + 1e-5).sqrt().view(along) + gate.shift.detach().view(along)
    assert torch.equal(gate.eval()(counts), (z >= 0).float())


def test_a_gate_learns_its_threshold_and_hands_gradients_on() -> None:
    gate, counts = Gate(3), torch.randint(-9, 10, (64, 3)).float().requires_grad_()
    (gate(counts) * torch.randn(64, 3)).sum().backward()
    assert counts.grad is not None
    assert bool(counts.grad.any())
    assert bool(gate.shift.grad.any())
    assert bool(gate.mean.any())


def test_a_readout_moves_counts_by_whole_numbers_and_keeps_answers() -> None:
    readout, counts = Readout(4), torch.randint(-9, 10, (256, 4)).float() + torch.tensor([0.0, 5.0, -5.0, 2.0])
    for _ in range(100):
        readout(counts)
    readout.shift.data.copy_(torch.tensor([0.3, 0.0, -0.2, 1.0]))
    assert torch.equal(readout.offsets(), readout.offsets().round())
    assert torch.allclose(readout.eval()(counts), (counts + readout.offsets()) * readout.scale())


def test_values_become_a_thermometer_whose_bits_follow_each_other() -> None:
    bits = Bits((0.25, 0.5, 0.75))
    x = torch.tensor([[0.1, 0.5], [0.6, 1.0]])
    assert bits(x).tolist() == [[0, 0, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1]]
    assert bits(torch.rand(2, 3, 4, 5)).shape == (2, 9, 4, 5)


def test_thresholds_of_inputs_are_learnt_where_asked_for() -> None:
    fixed, learnt = Bits((0.5,)), Bits((0.5,), learnt=True)
    learnt(torch.rand(20, 4)).sum().backward()
    assert list(fixed.parameters()) == []
    assert bool(learnt.thresholds.grad.any())


def test_a_residual_adds_counts_to_counts() -> None:
    body = torch.nn.Sequential(Gate(4), TernaryLinear(4, 4))
    counts = torch.randint(-3, 4, (8, 4)).float()
    assert torch.equal(Residual(body).eval()(counts), counts + body(counts))
    shortcut = torch.nn.Sequential(Gate(4), TernaryLinear(4, 4)).eval()
    assert torch.equal(Residual(body, shortcut).eval()(counts), shortcut(counts) + body(counts))


def test_a_pool_is_any_of_its_window() -> None:
    assert OrPool2d(2)(torch.tensor([[[[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]])).tolist() == [[[[1.0, 0.0]]]]


REFUSED = {
    "no outputs": lambda: TernaryLinear(3, 0),
    "groups": lambda: TernaryConv2d(4, 6, 3, groups=4),
    "no channels": lambda: Gate(0),
    "no classes": lambda: Readout(0),
    "no thresholds": lambda: Bits(()),
    "falling thresholds": lambda: Bits((0.5, 0.25)),
    "thresholds that are NaN": lambda: Bits((float("nan"),)),
    "no kernel": lambda: OrPool2d(0),
    "too many stages": lambda: convolutional((1, 4, 4), (2, 2, 2), 8, 3),
    "no hidden gates": lambda: fully_connected(4, (0,), 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="found: "):
        REFUSED[name]()
