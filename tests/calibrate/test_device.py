"""Devices: what a chip does to a network is what it says, and calibration brings most of it back."""

import dataclasses

import pytest
import torch
from tests.compress.networks import prepared, samples, stream
from torch import Tensor

from spikeloom.calibrate import Balance, Compensate, Device
from spikeloom.calibrate.device import for_each, spread
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError, UnsupportedError
from spikeloom.ir import Context, Program, calls, constant_name, population, run
from spikeloom.simulate import SpikingModel, Stream, executable, primary

STEPS = 8


def spiking(name: str = "convolution", method: str = "lif", placement: str = "uniform") -> Program:
    exact, context = prepared(name), stream(name)
    made = run([Unfold(), Spike(method, placement=placement, levels=3), Balance(timesteps=STEPS)], exact, context)
    return run([Compensate(STEPS)], made, dataclasses.replace(context, reference=exact))


def lost(program: Program, name: str = "convolution") -> float:
    x = samples(name, 128, 77)
    with torch.no_grad():
        meant, found = prepared(name).module()(x), primary(SpikingModel(program, timesteps=STEPS)(x))
    return float((found - meant).square().sum() / meant.square().sum())


def parameter(program: Program, place: int) -> list[Tensor]:
    """One parameter of every population, by its place among a population's arguments."""
    return [program.tensors[constant_name(node.args[place])] for node in calls(program.graph) if node.target is population]


def test_thresholds_of_few_bits_are_multiples_of_one_unit() -> None:
    found = run([Device(threshold_bits=4)], spiking(), Context())
    for step in parameter(found, 1):
        unit = step.max() / 15
        torch.testing.assert_close(step / unit, (step / unit).round())
        assert float(step.min()) > 0
    before = spiking()
    for now, then, v0, v0_then in zip(*(parameter(each, place) for place in (1, 2) for each in (found, before)), strict=True):
        torch.testing.assert_close(v0 / now, v0_then / then)  # the initial potential follows


def test_leaks_are_forced_and_of_few_bits() -> None:
    assert all(bool((decay == 0.95).all()) for decay in parameter(run([Device(decay=0.95)], spiking(), Context()), 3))
    for decay in parameter(run([Device(leak_bits=3, decay=0.9)], spiking(), Context()), 3):
        assert torch.equal(decay, torch.full_like(decay, 1 - 1 / 8))


def test_a_neuron_of_another_threshold_fires_as_it_should() -> None:
    """One neuron by hand: threshold 1.25, spikes of height 1 and, after each, 1.25 less."""
    current, factor, steps = 0.4, 1.25, 40
    v, sent = 0.5 * factor, 0
    for _ in range(steps):
        v += current
        if v >= factor:
            v, sent = v - factor, sent + 1
    from spikeloom.neuron import run_uniform

    one = torch.ones(())
    scaled = torch.full((steps, 1), current / factor)
    found = run_uniform(scaled, one, one / 2, 1.0, 0.0, levels=1, negative=0, reset="subtract", axis=1, timesteps=steps)
    assert int(found.sum()) == sent


def test_mismatch_is_of_its_spread_and_dead_neurons_are_dead() -> None:
    found = run([Device(draw=3, threshold_mismatch=0.2, dead=0.1)], spiking(), Context())
    gains = torch.cat([t.flatten() for name, t in found.tensors.items() if name.endswith("device_gain")])
    alive = gains[gains > 0]
    assert float((gains == 0).float().mean()) == pytest.approx(0.1, abs=0.03)
    assert float((1 / alive).std()) == pytest.approx(0.2, abs=0.02)
    module = executable(found, STEPS)
    seen: list[Tensor] = []

    class Watched(torch.fx.Interpreter):
        def run_node(self, n):  # type: ignore[no-untyped-def]
            value = super().run_node(n)
            if n.name.startswith("spike_") and n.op != "get_attr":
                seen.append(value)
            return value

    with torch.no_grad():
        Watched(module).run(samples("convolution", 4, 1).repeat(STEPS, 1, 1, 1))
    dead = [t[0] == 0 for name, t in found.tensors.items() if name.endswith("device_gain")]
    assert all(bool((sent[:, mask] == 0).all()) for sent, mask in zip(seen, dead, strict=True))


def test_time_constants_differ_from_neuron_to_neuron() -> None:
    found = run([Device(decay=0.95, tau_mismatch=0.2)], spiking(), Context())
    for decay in parameter(found, 3):
        tau = 1 / -decay.log()
        assert decay.numel() == 8 * 64
        assert float(tau.std() / tau.mean()) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("method", ["lif", "scale_and_fire"])
def test_steps_at_once_equal_steps_one_by_one(method: str) -> None:
    found = run(
        [Device(decay=0.9, threshold_bits=6, threshold_mismatch=0.2, tau_mismatch=0.2, dead=0.02)], spiking(method=method), Context()
    )
    x, state, total = samples("convolution", 3, 5), None, torch.zeros(())
    stream_ = Stream(found)
    from spikeloom.simulate import State

    state = State()
    for _ in range(STEPS):
        output, state = stream_.advance((x,), state)
        total = total + primary(output)
    torch.testing.assert_close(total / STEPS, primary(SpikingModel(found, timesteps=STEPS)(x)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["convolution", "linear"])
def test_calibration_on_the_chip_brings_most_of_it_back(name: str) -> None:
    program, exact, context = spiking(name), prepared(name), stream(name, 256)
    on_chip = run([Device(decay=0.95, threshold_bits=6, threshold_mismatch=0.2, tau_mismatch=0.2, dead=0.02)], program, Context())
    before, worse = lost(program, name), lost(on_chip, name)
    assert worse > 1.2 * before
    back = lost(run([Compensate(STEPS)], on_chip, dataclasses.replace(context, reference=exact)), name)
    assert back < worse - 0.4 * (worse - before)


def test_the_same_draw_is_the_same_chip_and_another_is_not() -> None:
    first, again, other = (run([Device(draw=draw, threshold_mismatch=0.2)], spiking("linear"), Context()) for draw in (1, 1, 2))
    name = next(name for name in first.tensors if name.endswith("device_gain"))
    assert torch.equal(first.tensors[name], again.tensors[name])
    assert not torch.equal(first.tensors[name], other.tensors[name])


@pytest.mark.parametrize(
    "options",
    [{"threshold_bits": 0}, {"leak_bits": 25}, {"decay": 1.5}, {"threshold_mismatch": 1.0}, {"tau_mismatch": -0.1}, {"dead": 1.0}],
)
def test_what_no_chip_is_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        run([Device(**options)], spiking("linear"), Context())  # type: ignore[arg-type]


def test_tables_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no tables"):
        run([Device(dead=0.1)], spiking("linear", "scale_and_fire", "density"), Context())


def test_parameters_for_each_neuron() -> None:
    assert torch.equal(for_each(torch.tensor([1.0, 2.0]), 1, (2, 2)), torch.tensor([1.0, 1.0, 2.0, 2.0]))
    assert torch.equal(for_each(torch.tensor([1.0, 2.0]), -1, (3, 2)), torch.tensor([1.0, 2.0] * 3))
    assert torch.equal(for_each(torch.tensor(3.0), 1, (2,)), torch.tensor([3.0, 3.0]))
    assert float(spread((10000,), 0.5, torch.Generator().manual_seed(0)).min()) >= 0.1
