"""The plastic tail: the same numbers as the network, derivatives as they should be, weights written back."""

import pytest
import torch
from tests.agent.learners import OBSERVED, policy

from spikeloom import Settings, convert
from spikeloom.agent import tail as tail_module
from spikeloom.agent.tail import Tail
from spikeloom.errors import ConfigError, UnsupportedError
from spikeloom.simulate import SpikingModel


def observations(count: int = 64) -> torch.Tensor:
    return torch.randn(count, OBSERVED, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
def test_the_tail_runs_as_the_network_does(activation: type) -> None:
    model, x = policy(activation=activation).model, observations()
    tail = Tail(model.program)
    torch.testing.assert_close(tail.run(tail.inputs(x), tail.converted), model(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(tail.observe(tail.inputs(x), tail.converted).output, model(x), rtol=0, atol=1e-5)


def test_layers_in_front_of_the_plastic_ones_run_as_they_are() -> None:
    model, x = policy().model, observations()
    whole, last = Tail(model.program), Tail(model.program, 1)
    assert len(last) == 1 < len(whole)
    torch.testing.assert_close(last.run(last.inputs(x), last.converted), model(x), rtol=0, atol=1e-5)


def test_signals_of_the_last_two_layers_are_the_gradients() -> None:
    """With the feedback as converted, layers next to the output get exactly what backpropagation gives."""
    tail = Tail(policy().model.program)
    passed = tail.observe(observations(), tail.converted)
    error = torch.randn(64, 2, generator=torch.Generator().manual_seed(2))
    signals = tail.signals(error, passed)
    torch.testing.assert_close(signals[-1], error)
    torch.testing.assert_close(signals[-2], (error @ tail.converted[-2]) * passed.psi[-2])
    assert set(passed.psi[-2].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"levels": 3}])
def test_slopes_in_closed_form_are_the_surrogates(options: dict) -> None:
    """Inside the range, outside of it, and on its very edges."""
    tail = Tail(policy(**options).model.program)
    driven = tail._layers[0]  # pyright: ignore[reportPrivateUsage]
    neurons, alone = driven.neurons, driven.alone
    assert neurons is not None
    assert alone is not None
    edges = torch.cat([alone.step.expand(1, 12) * level - alone.v0 for level in (-1, 0, 1, alone.levels, alone.levels + 1)])
    h = torch.cat([torch.randn(500, 12, generator=torch.Generator().manual_seed(3)) * 2, edges])
    s, slope = driven(h)
    x = h.clone().requires_grad_()
    wanted = neurons(x)
    (gradient,) = torch.autograd.grad(wanted.sum(), x)
    assert torch.equal(slope, gradient)
    assert torch.equal(s, wanted.detach())
    assert torch.equal(driven.spikes(h), s)
    assert 0 < slope.mean() < 1
    assert tail_module._alone(neurons.double()) is None  # pyright: ignore[reportPrivateUsage]


def test_feedback_goes_through_every_layer_behind() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    tail = Tail(convert(model.eval(), observations(), Settings(timesteps=1, levels=15)).program)
    first, second, third = (tail.converted[place] for place in (0, 2, 4))
    assert [wires.shape for wires in tail.feedback] == [(2, 8), (2, 6), (2, 2)]
    torch.testing.assert_close(tail.feedback[0], third @ second)
    assert first.shape == (8, 3)


def test_weights_are_written_back_and_nothing_else_changes(tmp_path) -> None:
    model, x = policy().model, observations()
    tail = Tail(model.program)
    changed = tuple(weight + 0.1 for weight in tail.converted)
    program = tail.written(model.program, changed)
    torch.testing.assert_close(SpikingModel(program)(x), tail.run(x, changed), rtol=0, atol=1e-5)
    torch.testing.assert_close(tail.run(x, tail.converted), model(x), rtol=0, atol=1e-5)
    SpikingModel(program).save_pretrained(tmp_path / "net")
    torch.testing.assert_close(SpikingModel.from_pretrained(tmp_path / "net")(x), SpikingModel(program)(x))


def test_weights_of_few_bits_stay_on_their_grids() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).eval()
    snn = convert(model, observations(), Settings(timesteps=1, levels=15, compress="4"))
    tail = Tail(snn.program)
    torch.testing.assert_close(tail.on_grid(tail.converted)[0], tail.converted[0])
    moved = tail.on_grid(tuple(weight + 0.07 for weight in tail.converted))
    program = tail.written(snn.program, tuple(weight + 0.07 for weight in tail.converted))
    x = observations()
    torch.testing.assert_close(SpikingModel(program)(x), tail.run(x, moved), rtol=0, atol=1e-5)
    assert any(type(tensor).__name__ == "Quantised" for tensor in program.tensors.values())


def test_no_layer_to_learn_in_and_too_many_are_refused() -> None:
    program = policy().model.program
    with pytest.raises(ConfigError, match="so many plastic layers"):
        Tail(program, 9)
    convolution = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).eval()
    snn = convert(convolution, torch.rand(8, 1, 6, 6), Settings(timesteps=1, levels=7))
    with pytest.raises(UnsupportedError, match="no layer to learn in"):
        Tail(snn.program)
