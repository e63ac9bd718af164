"""Reading errors: one population's rounding at a time, at everyone who reads it, against the same worked out by hand."""

import pytest
import torch
from tests.ir.networks import Wired
from tests.simulate.networks import stream_of, with_tensors
from torch import Tensor, nn

from spikeloom.calibrate import Balance, reading_errors
from spikeloom.capture import capture
from spikeloom.convert import Spike
from spikeloom.ir import Context, Program, run
from spikeloom.simulate import Recorder, executable, reference


def calibrated(model: nn.Module, x: Tensor, **options: object) -> Program:
    program = capture(model.eval(), (x[:2],))
    return run([Spike(**{"levels": 3, **options}), Balance()], program, Context(stream_of(x, 16)))


def share(exact: Tensor, found: Tensor) -> float:
    return float((exact - found).double().square().sum() / exact.double().square().sum())


def seen(module: torch.fx.GraphModule, x: Tensor, *names: str) -> list[Tensor]:
    recorder = Recorder(module, names)
    with torch.no_grad():
        recorder.run(x)
    return [recorder.kept[name] for name in names]


def test_a_layer_reads_the_rounding_of_what_feeds_it_and_of_nothing_before() -> None:
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(48, 6)
    program = calibrated(model, x)
    found = reading_errors(program, stream_of(x, 16)(), 1)
    assert set(found) == {("spike_relu", "linear_1"), ("spike_relu_1", "linear_2")}
    (first, exact), spikes = seen(reference(program), x, "linear", "spike_relu"), torch.zeros(0)
    step = program.tensors["spike_relu.step"]
    spikes = torch.clamp(torch.floor(first / step + 0.5), 0, 3) * step
    layer = model[2]
    with torch.no_grad():
        assert found["spike_relu", "linear_1"] == pytest.approx(share(layer(exact), layer(spikes)), rel=1e-4)
    assert found["spike_relu_1", "linear_2"] < share(
        *(seen(make, x, "linear_2")[0] for make in (reference(program), executable(program, 1)))
    )


def test_a_product_is_read_one_factor_at_a_time_through_moves() -> None:
    def product(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
        return a(x).transpose(1, 2).flip(1) @ b(x)

    model, x = Wired(product, nn.Linear(6, 4), nn.Linear(6, 4)), torch.randn(32, 5, 6)
    program = calibrated(model, x)
    found = reading_errors(program, stream_of(x, 16)(), 1)
    assert set(found) == {("spike_linear", "matmul"), ("spike_linear_1", "matmul")}
    one, two, exact = seen(reference(program), x, "spike_linear", "spike_linear_1", "matmul")
    (rounded,) = seen(executable(program, 1), x, "spike_linear")
    assert found["spike_linear", "matmul"] == pytest.approx(share(exact, rounded.transpose(1, 2).flip(1) @ two), rel=1e-4)
    assert not torch.equal(one, rounded)


def test_more_steps_read_less_error_and_a_damaged_population_more() -> None:
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(48, 6)
    program = calibrated(model, x)
    edge = ("spike_relu", "linear_1")
    once, often = (reading_errors(program, stream_of(x, 16)(), steps)[edge] for steps in (1, 8))
    assert often < once / 4
    wide = with_tensors(
        program, spike_relu__step=program.tensors["spike_relu.step"] * 4, spike_relu__v0=program.tensors["spike_relu.v0"] * 4
    )
    assert reading_errors(wide, stream_of(x, 16)(), 1)[edge] > 4 * once
