"""Lowering: the network in whole numbers answers as the floating one does; what cannot be lowered is named."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikeloom
from spikeloom.backend import Form
from spikeloom.backend.lower import InputRange, grounded, lower, obstacles
from spikeloom.backend.lower.currents import Known, Pending, Synapses, gathered
from spikeloom.backend.lower.lowering import Lowering
from spikeloom.backend.lower.sums import unsummable
from spikeloom.capture import capture
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Quantised, calls, dynamic, weighted, weights_of
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Requantise, netlist_files
from spikeloom.simulate import Counter, SpikingModel
from spikeloom.simulate.event_driven import EventNetwork
from spikeloom.simulate.event_stream import events_from
from spikeloom.simulate.integers import answers, quantised_input

RANGE = InputRange(-2.0, 2.0)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.down, self.short = nn.Conv2d(8, 12, 3, 2, 1), nn.Conv2d(8, 12, 1, 2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.inner(x))
        x = torch.relu(self.down(x) - 0.5 * self.short(x) + 0.1)
        return self.head(x.mean((2, 3)))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 6, 1)
        self.deep = nn.Conv2d(10, 10, 3, groups=5, padding="same")
        self.head = nn.Linear(10 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)
        x = nn.functional.max_pool2d(both, 2)
        x = nn.functional.relu6(self.deep(x))
        return self.head(x.permute(0, 1, 3, 2).flatten(1))


def plain() -> nn.Module:
    layers = [nn.Conv2d(2, 6, 3, 2), nn.ReLU(), nn.AvgPool2d(3, 1), nn.Flatten(), nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 5)]
    return nn.Sequential(*layers)


def flat() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 6, 5, 2, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 5))


NETWORKS = {"plain": plain, "residual": Residual, "branches": Branches, "flat": flat}
SHAPES = {"flat": (2, 16)}


def batches(name: str, count: int = 4) -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    shape = SHAPES.get(name, (2, 8, 8))
    return [(torch.randn((32, *shape), generator=generator).clamp(-2, 2),) for _ in range(count)]


@cache
def converted(name: str, **settings: object) -> SpikingModel:
    return _converted(name, tuple(sorted(settings.items())))


@cache
def _converted(name: str, settings: tuple[tuple[str, object], ...]) -> SpikingModel:
    torch.manual_seed(3)
    model = NETWORKS[name]().eval()
    return spikeloom.convert(model, [inputs[0] for inputs in batches(name)], spikeloom.Settings(**dict(settings)))  # pyright: ignore


def outputs(snn: SpikingModel, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for (x,) in batches(name, 2):
        with torch.no_grad():
            yield x.numpy(), snn(x).numpy()


def relative(snn: SpikingModel, netlist: Netlist, name: str) -> float:
    """The largest difference between both, as a share of the largest answer."""
    pairs = [(answers(netlist, x), y) for x, y in outputs(snn, name)]
    return max(float(np.abs(whole - y).max()) for whole, y in pairs) / max(float(np.abs(y).max()) for _, y in pairs)


@pytest.mark.parametrize(("placement", "weights"), [("uniform", "none"), ("density", "none"), ("density", "8")])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_grounded_network_loses_nothing(name: str, placement: str, weights: str) -> None:
    snn = converted(name, timesteps=1, levels=15, placement=placement, compress=weights)
    made = grounded(snn.program, 1, RANGE)
    exact, whole = SpikingModel(made), lower(made, 1, RANGE)
    assert relative(exact, whole, name) < 1e-5  # of float32 alone
    far = [np.abs(SpikingModel(made)(torch.from_numpy(x)).detach().numpy() - y).mean() / np.abs(y).mean() for x, y in outputs(snn, name)]
    assert max(far) < 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_grounding_twice_changes_nothing(name: str) -> None:
    snn = converted(name, timesteps=1, levels=15, placement="density")
    once = grounded(snn.program, 1, RANGE)
    assert netlist_files(lower(grounded(once, 1, RANGE), 1, RANGE)) == netlist_files(lower(once, 1, RANGE))


def test_one_threshold_for_a_layer_becomes_one_for_each_channel_on_the_grid_of_its_weights() -> None:
    snn = converted("flat", timesteps=6, method="if", per_channel=False, compress="4")
    made = grounded(snn.program, 6, RANGE)
    whole = lower(made, 6, RANGE)
    assert {population.thresholds.shape[0] for population in whole.populations} != {1}
    assert relative(SpikingModel(made, timesteps=6), whole, "flat") < 0.15


@pytest.mark.parametrize("method", ["if", "lif", "scale_and_fire"])
@pytest.mark.parametrize("name", ["residual", "branches", "flat"])
def test_membranes_over_time(name: str, method: str) -> None:
    snn = converted(name, timesteps=6, method=method, levels=7, **({"tau_mem_ms": 30.0} if method == "lif" else {}))
    made = grounded(snn.program, 6, RANGE)
    whole = lower(made, 6, RANGE)
    assert all(population.membrane is not None for population in whole.populations)
    assert relative(SpikingModel(made, timesteps=6), whole, name) < 0.15


def test_whole_weights_are_the_grids_codes() -> None:
    for weights in ("8", "4", "ternary"):
        snn = converted("plain", timesteps=1, levels=15, compress=weights, placement="density")
        netlist = lower(snn.program, 1, RANGE)
        layers = {node.name: weights_of(node, snn.program.tensors)[0] for node in calls(snn.program.graph) if weighted(node)}
        seen = 0
        for operation in netlist:
            if isinstance(operation, Affine | Convolution):
                weight = layers[operation.name.removesuffix("_0")]
                assert isinstance(weight, Quantised)
                assert (operation.weight == weight.codes().numpy()).all()
                seen += 1
        assert seen == 3


def test_always_gives_membranes_of_equal_steps() -> None:
    snn = converted("residual", timesteps=1, levels=15)
    netlist = lower(snn.program, 1, RANGE, Form(membranes="always", gains=False))
    assert all(population.membrane is not None and population.uniform for population in netlist.populations)
    assert relative(snn, netlist, "residual") < 0.5


def test_more_bits_come_nearer() -> None:
    snn = converted("plain", timesteps=1, levels=63, placement="density")
    forms = [Form(weight_bits=bits, input_bits=bits, value_bits=bits) for bits in (4, 8, 12)]
    near = [relative(snn, lower(snn.program, 1, RANGE, form), "plain") for form in forms]
    assert near[0] > near[1] > near[2]
    assert near[2] < 0.05


def test_what_cannot_be_lowered_is_named_at_once() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    snn = spikeloom.convert(nn.Sequential(layer).eval(), [torch.randn(4, 6, 8)], spikeloom.Settings(timesteps=1))  # pyright: ignore
    found = obstacles(snn.program, 1)
    assert len(found) > 3
    with pytest.raises(UnsupportedError, match="cannot be put into whole numbers") as error:
        lower(snn.program, 1, RANGE)
    assert found[0].where in str(error.value)


class Stubborn(nn.Module):
    """What has no place in whole numbers for its sizes alone: one of each."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.rows, self.wide = nn.Conv2d(2, 4, 2, padding="same"), nn.Linear(8, 8), nn.Conv2d(4, 4, 3, padding=1)
        self.places = nn.Parameter(torch.randn(1, 4, 8, 8))
        self.head = nn.Linear(4 * 9, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.even(x))
        y = torch.relu(self.wide(x) + self.rows(x))
        z = torch.relu(self.wide(y) + self.places)
        z = torch.relu(z + y.mean((2, 3), keepdim=True))
        z = nn.functional.adaptive_avg_pool2d(z, 3).flatten(1)
        return self.head(z), y.mean(0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_what_sizes_forbid_is_named_with_the_rest() -> None:
    torch.manual_seed(0)
    snn = spikeloom.convert(Stubborn().eval(), [torch.randn(4, 2, 8, 8)], spikeloom.Settings(timesteps=1))  # pyright: ignore
    found = {refusal.allowed for refusal in obstacles(snn.program, 1)}
    assert found == {
        "one output",
        "padding that is the same on both sides",
        "currents whose channels lie on one axis",
        "a constant of one number for each channel",
        "operands of one shape",
        "windows of one size",
        "means over axes of a sample",
    }


class Sums(nn.Module):
    """A convolution's current [B, 4, 8, 8] beside a linear layer's, whose channels are the columns."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function, self.conv, self.rows = function, nn.Conv2d(4, 4, 1), nn.Linear(8, 8)
        self.each = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.conv(x), self.rows(x), self.each)


AXES, CHANNELS = "currents whose channels lie on one axis", "a constant of one number for each channel"
SUMMED: dict[str, tuple[Callable[..., Tensor], list[str]]] = {
    "two layers": (lambda x, conv, rows, each: conv + rows, [AXES]),
    "one of them scaled": (lambda x, conv, rows, each: conv + 2 * rows, [AXES]),
    "one of them read twice": (lambda x, conv, rows, each: (conv + rows) * rows.relu(), []),
    "a number for each column": (lambda x, conv, rows, each: conv.relu() + (rows + each), []),
    "a number for each column of another layer": (lambda x, conv, rows, each: rows.relu() + (conv + each), [CHANNELS]),
    "a number for each column of a wire, and a layer": (lambda x, conv, rows, each: conv + (x.relu() + each), [AXES]),
}


@pytest.mark.parametrize("name", SUMMED)
def test_sums_of_currents_are_of_one_axis(name: str) -> None:
    function, refused = SUMMED[name]
    program = capture(Sums(function).eval(), (torch.randn(2, 4, 8, 8),))
    assert [allowed for allowed, _ in unsummable(program, dynamic(program.graph)).values()] == refused


def test_rows_are_padded_by_name() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv1d(2, 4, 3, dilation=2, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    snn = spikeloom.convert(layers, [batches("flat")[0][0]], spikeloom.Settings(timesteps=1, levels=15))  # pyright: ignore
    assert relative(snn, lower(snn.program, 1, RANGE), "flat") < 0.1


def test_gated_neurons_are_refused() -> None:
    snn = converted("plain", timesteps=4, method="if", dual_threshold=True)
    with pytest.raises(UnsupportedError, match="dual-threshold"):
        lower(snn.program, 4, RANGE)


def test_numbers_that_pass_32_bits_are_refused() -> None:
    snn = converted("plain", timesteps=1, levels=15, placement="density")
    with pytest.raises(UnsupportedError, match="32 bits"):
        lower(snn.program, 1, RANGE, Form(weight_bits=20, value_bits=16, input_bits=16))


@pytest.mark.parametrize("timesteps", [1, 4])
def test_events_cost_what_the_simulator_counts(timesteps: int) -> None:
    """Synaptic operations of the event-driven run, layer by layer, beside those of the floating network (DESIGN.md §5)."""
    name = "plain" if timesteps == 1 else "branches"
    method = "scale_and_fire" if timesteps == 1 else "if"
    snn = converted(name, timesteps=timesteps, method=method)
    made = grounded(snn.program, timesteps, RANGE)
    netlist = lower(made, timesteps, RANGE)
    x = batches(name, 1)[0][0][:8]
    counter = Counter(made, timesteps)
    counter.add((x,))
    wanted = {row.node: row.operations["graded"] for row in counter.counts().rows if row.operations.get("graded")}
    network, found = EventNetwork(netlist), dict.fromkeys(wanted, 0)
    for sample in quantised_input(netlist, x.numpy()):
        run = network.run(events_from(np.broadcast_to(sample, (timesteps, *sample.shape))))
        for name, count in run.operations.items():
            found[name.removesuffix("_0")] += count
    assert len(wanted) >= 3
    assert {name: count / len(x) for name, count in found.items()} == pytest.approx(
        wanted,
        rel=1e-9 if timesteps == 1 else 0.005,  # over time float32 turns a spike over here and there
    )


def test_signed_inputs_of_one_bit_are_minus_one_to_one() -> None:
    netlist = lower(converted("flat", timesteps=1, levels=15).program, 1, InputRange(-2.0, 2.0), Form(input_bits=1))
    assert (netlist.wires[netlist.source.name].low, netlist.wires[netlist.source.name].high) == (-1, 1)


def test_biases_are_as_fine_as_a_form_wants_them() -> None:
    """Codes whose rows reach a threshold in 13 and in 200 units: biases are rounded to a 64th of it, at least, each row by itself."""
    put = list[Operation]()
    units, threshold, bias = np.array([0.1, 0.01]), np.array([1.3, 2.0]), np.array([0.033, 0.033])
    synapses = Synapses(
        np.array([[7, 0], [0, 7]]), lambda name, weight, bias: (Affine(name, ("x",), weight, bias),), lambda *told: None, units
    )
    found = gathered(Pending("sum", (synapses,), bias, 0, (2,)), put.append, 4, anchor=threshold, fine=6)
    assert (np.rint(threshold / found.unit) >= 64).all()
    (add,) = [operation for operation in put if isinstance(operation, Add)]
    assert add.gains[0].tolist() == [8, 1]
    assert add.bias is not None
    assert np.allclose(add.bias * found.unit, bias, atol=0.0065)


def test_an_operand_that_is_a_wire_stays_exact_in_a_sum() -> None:
    """Codes of a unit of their own meet a wire whose unit is no multiple of it: the wire's gain is exact, the codes' unit gives way."""
    put, told = list[Operation](), list[np.ndarray]()
    codes, units = np.array([[3, -2], [1, 5]]), np.array([0.0123, 0.0371])
    synapses = Synapses(
        codes, lambda name, weight, bias: (Affine(name, ("x",), weight, bias),), lambda weight, worth, moved: told.append(worth), units
    )
    wire = np.array([0.29, 0.53])
    found = gathered(Pending("sum", (synapses, Known("y", wire)), np.zeros(1), 0, (2,)), put.append, 8)
    last = put[-1]
    assert isinstance(last, Add)
    assert np.broadcast_to(last.gains[1], 2) * found.unit == pytest.approx(wire, rel=1e-12)
    assert np.broadcast_to(last.gains[0], 2) * found.unit == pytest.approx(told[0], rel=1e-12)
    assert told[0] == pytest.approx(units, rel=2**-9)


def test_a_wide_current_is_narrowed_before_it_is_weighed() -> None:
    """A shift brings it to 16 bits, and its unit with it. (Conversion puts neurons there; other programs need not.)"""
    work = Lowering(converted("plain", timesteps=1, levels=15).program, 1, RANGE, Form())
    work.netlist()
    wide = Known("conv2d", np.full(work.intervals["conv2d"].low.shape, 0.5))
    found = work.narrow(wide)
    last = work.operations[-1]
    assert isinstance(last, Requantise)
    assert found.name == last.name
    assert (found.unit == 0.5 * 2**last.shift).all()
    low, high = work.intervals[last.name].ends
    assert 2**14 <= max(-low, high) < 2**15
    assert work.narrow(found) is found
