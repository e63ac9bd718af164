"""Balancing: every population's thresholds against brute force on what it sees in the ANN."""

from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, conv
from tests.simulate.networks import ann, samples, stream_of, unbalanced
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import METHODS, Balance, Compensate
from spikeloom.capture import capture
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, calls, run
from spikeloom.neuron import are_shifts
from spikeloom.plan import Fuse
from spikeloom.simulate import Recorder, executable, float_function, populations, primary, reference


def inputs_of(program: Program, x: Tensor, name: str) -> Tensor:
    """What a population reads in the ANN, [C, n]."""
    (node,) = [node for node in populations(program) if node.name == name]
    recorder = Recorder(reference(program), [str(node.args[0])])
    with torch.no_grad():
        recorder.run(x)
    return recorder.kept[str(node.args[0])].movedim(1, 0).flatten(1)


def with_thresholds(program: Program, x: Tensor, **options: Any) -> Program:
    return run([Balance(**options)], program, Context(stream_of(x, 32)))


def rounding_error(z: Tensor, step: float, levels: int) -> float:
    return float((z.relu() - torch.clamp(torch.floor(z / step + 0.5), 0, levels) * step).double().square().mean())


@pytest.mark.parametrize("levels", [3, 15])
@pytest.mark.parametrize("method", METHODS)
def test_every_channel_gets_the_step_its_own_input_asks_for(method: str, levels: int) -> None:
    program, x = unbalanced(ann("residual"), levels=levels), samples(ann("residual"), 96)
    made = with_thresholds(program, x, method=method, percentile=95.0)
    z = inputs_of(program, x, "spike_relu")
    for step, row in zip(made.tensors["spike_relu.step"].tolist(), z, strict=True):
        width = float(row.max() - row.min()) / 2048
        if method == "maximum":
            assert step * levels == pytest.approx(float(row.max()), abs=2 * width)
        elif method == "percentile":
            place = -(-95 * row.numel() // 100)
            assert step * levels == pytest.approx(float(row.relu().kthvalue(place).values), abs=2 * width)
        else:
            best = min(rounding_error(row, float(row.max()) / levels * share, levels) for share in torch.linspace(0.01, 1.1, 500).tolist())
            slack = 1.02 if method == "mse" else 1.3  # the Gaussian is an assumption
            assert rounding_error(row, step, levels) <= slack * best
    assert torch.equal(made.tensors["spike_relu.v0"], made.tensors["spike_relu.step"] / 2)


@pytest.mark.parametrize("method", METHODS)
def test_one_scale_for_all_is_that_of_all_values_together(method: str) -> None:
    x = samples(ann("residual"), 96)
    together = with_thresholds(unbalanced(ann("residual"), per_channel=False), x, method=method).tensors["spike_relu.step"]
    assert together.dim() == 0
    apart = with_thresholds(unbalanced(ann("residual")), x, method=method).tensors["spike_relu.step"]
    assert apart.shape == (4,)
    assert float(apart.min()) <= float(together) * 1.001
    assert len(apart.unique()) == 4
    if method == "maximum":
        assert float(together) == pytest.approx(float(apart.max()), rel=1e-3)


def test_signed_populations_have_levels_on_both_sides() -> None:
    program, x = unbalanced(ann("attention"), levels=15), samples(ann("attention"), 64)
    made = with_thresholds(program, x)
    recorder = Recorder(executable(made, 1), ["spike_linear", "linear"])
    recorder.run(x)
    sent, current = recorder.kept["spike_linear"], recorder.kept["linear"]
    assert float(sent.min()) < 0 < float(sent.max())
    assert float((sent - current).square().mean() / current.square().mean()) < 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("timesteps", [1, 4])
def test_no_step_reaches_past_a_cap(method: str, timesteps: int) -> None:
    program = unbalanced(ann("relu6"), levels=7)
    made = with_thresholds(program, 30 * samples(program, 32), method=method, timesteps=timesteps)
    tops = [made.tensors[f"{node.name}.step"].max().item() * 7 for node in populations(made)]
    assert max(tops) <= 6.0 * (1 + 1e-6)
    assert max(tops) > 5.0
    recorder = Recorder(executable(made, 1), [node.name for node in populations(made)])
    recorder.run(100 * samples(program, 8))
    assert max(float(value.max()) for value in recorder.kept.values()) <= 6.0 * (1 + 1e-6)


def test_more_steps_carry_a_finer_mean_so_the_step_may_clip_less() -> None:
    program, x = unbalanced(ann("linear"), method="if"), samples(ann("linear"), 96)
    steps = [with_thresholds(program, x, timesteps=timesteps).tensors["spike_relu.step"] for timesteps in (1, 4, 64)]
    highest = inputs_of(program, x, "spike_relu").amax(1)
    assert bool((steps[0] < steps[1]).all() and (steps[1] < steps[2]).all())
    assert bool((steps[2] <= highest * 1.06).all())
    finer = with_thresholds(unbalanced(ann("linear"), levels=64), x).tensors["spike_relu.step"] * 64
    torch.testing.assert_close(steps[2], finer, rtol=1e-4, atol=1e-6)  # 64 steps of one level are 64 levels


def dead_channel() -> nn.Module:
    layer = conv(2, 4)
    with torch.no_grad():
        layer.weight[1] = 0.0
        layer.bias[1] = -1.0  # never reaches zero
        layer.weight[2] = 0.0
        layer.bias[2] = 0.0  # stays at zero
    return nn.Sequential(layer, nn.ReLU(), conv(4, 2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("per_channel", [True, False])
def test_dead_channels_stay_finite_and_silent(method: str, per_channel: bool) -> None:
    program = unbalanced(capture(dead_channel(), (torch.randn(2, 2, 5, 5),)), per_channel=per_channel)
    x = samples(program, 32)
    made = with_thresholds(program, x, method=method)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.tensors.values())
    recorder = Recorder(executable(made, 1), ["spike_relu"])
    recorder.run(x)
    fired = recorder.kept["spike_relu"].movedim(1, 0).flatten(1).ne(0).any(1)
    assert fired.tolist() == [True, False, False, True]
    assert made.records[-1].numbers["silent"] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_population_that_never_fires_is_written_down(method: str) -> None:
    model = nn.Sequential(conv(2, 3), nn.ReLU(), conv(3, 3), nn.ReLU(), conv(3, 2))
    with torch.no_grad():
        model[2].bias.fill_(-50.0)
    program = unbalanced(capture(model, (torch.randn(2, 2, 5, 5),)))
    made = with_thresholds(program, samples(program, 8), method=method)
    assert made.records[-1].numbers["silent"] == ["spike_relu_1"]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.tensors.values())


def test_a_function_that_answers_to_negative_input_is_not_silent() -> None:
    model = Wired(lambda x, a, b, c: c(F.hardtanh(b(F.gelu(a(x))))), conv(2, 3), conv(3, 3), conv(3, 2))
    with torch.no_grad():
        model.layers[0].bias.fill_(-2.0)
        model.layers[0].weight.mul_(0.1)
        model.layers[1].bias.fill_(-2.0)
        model.layers[1].weight.mul_(0.1)
    program = unbalanced(capture(model, (torch.randn(2, 2, 5, 5),)))
    made = with_thresholds(program, samples(program, 8))
    assert made.records[-1].numbers["silent"] == []
    recorder = Recorder(executable(made, 1), ["spike_hardtanh"])
    recorder.run(samples(program, 8))
    assert float(recorder.kept["spike_hardtanh"].max()) == pytest.approx(-1.0, abs=0.01)


@pytest.mark.parametrize("name", ["gate", "prelu"])
def test_function_populations_approximate_their_function_with_zero_among_the_heights(name: str) -> None:
    program, x = unbalanced(ann(name), levels=31), samples(ann(name), 96)
    made = with_thresholds(program, x)
    nodes = [node for node in populations(made) if f"{node.name}.values" in made.tensors]
    assert nodes
    recorder = Recorder(executable(made, 1), [name for node in nodes for name in (node.name, str(node.args[0]))])
    recorder.run(x)
    for node in nodes:
        exact, sent = float_function(node)(recorder.kept[str(node.args[0])]), recorder.kept[node.name]
        assert float((exact - sent).square().mean() / exact.square().mean()) < 1e-3
        values = torch.atleast_2d(made.tensors[f"{node.name}.values"])
        assert bool((values == 0.0).any(1).all()) or node.kwargs["function"] == "sigmoid"  # which is never zero


def test_the_record_holds_a_small_histogram_of_every_population() -> None:
    program, x = unbalanced(ann("residual")), samples(ann("residual"), 40)
    found = with_thresholds(program, x).records[-1].numbers
    assert found["populations"] == 3
    assert set(found["histograms"]) == {node.name for node in populations(program)}
    for name, histogram in found["histograms"].items():
        z = inputs_of(program, x, name)
        assert len(histogram["counts"]) == 48
        assert sum(histogram["counts"]) == z.numel()
        assert histogram["edges"][0] == pytest.approx(float(z.min()))
        assert histogram["edges"][-1] == pytest.approx(float(z.max()))
        below = sum(histogram["counts"][:24])
        assert below == pytest.approx(float((z < histogram["edges"][24]).sum()), abs=0.03 * z.numel())


def test_the_given_program_stays_as_it_was() -> None:
    program = unbalanced(ann("residual"))
    before = dict(program.tensors)
    made = with_thresholds(program, samples(program, 16))
    assert program.tensors == before
    assert all(bool(torch.isnan(tensor).all()) for name, tensor in program.tensors.items() if name.endswith((".step", ".v0")))
    assert made.tensors["layers.0.weight"] is program.tensors["layers.0.weight"]
    assert [node.name for node in calls(made.graph)] == [node.name for node in calls(program.graph)]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"method": "median"}, "calibration.method"), ({"percentile": 0.0}, "percentile"), ({"percentile": 100.5}, "percentile")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        with_thresholds(unbalanced(ann("linear")), samples(ann("linear"), 4), **options)


def test_calibration_needs_a_stream() -> None:
    with pytest.raises(ConfigError, match="no calibration stream"):
        run([Balance()], unbalanced(ann("linear")), Context())


def test_progress_is_told_for_every_batch_of_both_passes() -> None:
    told: list[tuple[str, int, int]] = []
    program = unbalanced(ann("linear"))
    run([Balance()], program, Context(stream_of(samples(program, 10), 4), progress=lambda *what: told.append(what)))
    assert told == [("observing activations", done, 0) for done in range(1, 7)]


def test_density_placed_levels_serve_better_than_equal_steps() -> None:
    x = samples(ann("linear"), 256)
    z, errors = inputs_of(unbalanced(ann("linear")), x, "spike_relu").T, {}
    for placement in ("uniform", "density"):
        made = with_thresholds(unbalanced(ann("linear"), levels=7, placement=placement), x)
        recorder = Recorder(executable(made, 1), ["spike_relu"])
        recorder.run(x)
        errors[placement] = float((recorder.kept["spike_relu"] - z.relu()).square().mean())
    assert errors["density"] < 0.9 * errors["uniform"]


def test_functions_asked_for_get_heights_that_are_powers_of_two_and_keep_them() -> None:
    x = samples(ann("attention"), 64)
    made = run([Fuse(), Unfold(), Spike(levels=15), Balance(shifts=("exp",)), Compensate()], ann("attention"), Context(stream_of(x, 32)))
    heights = {
        str(node.kwargs["function"]): made.tensor(node.args[2])
        for node in calls(made.graph)
        if "function" in node.kwargs and "levels" not in node.kwargs
    }
    assert "exp" in heights
    assert {name for name, values in heights.items() if are_shifts(values)} == {"exp"}
    with torch.no_grad():
        found, wanted = primary(executable(made, 1)(x)), primary(ann("attention").module()(x))
    assert float((found - wanted).norm() / wanted.norm()) < 0.5


@pytest.mark.parametrize("shifts", [("sqrt",), ("exp", "expp")])
def test_functions_without_powers_of_two_are_refused(shifts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="shifts names no function"):
        with_thresholds(unbalanced(ann("residual")), samples(ann("residual"), 8), shifts=shifts)


def test_heights_that_are_powers_of_two_follow_a_function_that_turns_back() -> None:
    """GELU falls below 0 and comes back: of its heights some are reached twice, and the thresholds are as many as there is room for."""
    model, x = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)).eval(), 4 * torch.randn(256, 6)
    program = unbalanced(capture(model, (x[:2],)), levels=7)
    made = with_thresholds(program, x, shifts=("gelu",))
    assert are_shifts(made.tensors["spike_gelu.values"])
    recorder = Recorder(executable(made, 1), ["spike_gelu"])
    recorder.run(x)
    exact = F.gelu(inputs_of(program, x, "spike_gelu").T)
    assert float((recorder.kept["spike_gelu"] - exact).square().mean() / exact.square().mean()) < 0.1
