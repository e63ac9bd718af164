"""Verification: dialects, constants, shapes, and in an SNN what every edge carries."""

from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, captured, conv
from torch import fx, nn
from torch.nn import functional as F

from spikeloom.convert import Spike
from spikeloom.errors import VerifyError
from spikeloom.ir import Context, Dialect, Program, Signal, calls, clone, name_of, note, population, signals, spikeless, verify
from spikeloom.ir.verify import shapes

TWO = Wired(lambda x, a, b: b(F.relu(a(x))), conv(1, 2), conv(2, 2))


@pytest.fixture(scope="module")
def ann() -> Program:
    return captured(TWO, 2, 1, 4, 4)


@pytest.fixture(scope="module")
def snn(ann: Program) -> Program:
    return Spike()(ann, Context())


def without_populations(program: Program) -> Program:
    """The program with every population taken out by hand."""
    graph = clone(program.graph)
    for node in list(calls(graph)):
        if node.target is population:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return program.replaced(graph=graph)


def test_what_capture_and_conversion_give_is_legal(ann: Program, snn: Program) -> None:
    verify(ann)
    verify(snn)


def test_a_missing_population_is_found_and_the_edge_named(snn: Program) -> None:
    with pytest.raises(VerifyError, match=r"(?s)no spikes where spikes are needed.*%conv2d_1 = .*reads current from %conv2d$"):
        verify(without_populations(snn))


@pytest.mark.parametrize(
    ("function", "reader"),
    [
        (lambda x, a, b: F.max_pool2d(a(x), 2), "max_pool2d"),
        (lambda x, a, b: F.interpolate(a(x), scale_factor=2, mode="bilinear"), "upsample_bilinear2d"),
        (lambda x, a, b: a(x) * b(a(x)).relu(), "mul"),
        (lambda x, a, b: b(torch.cat([x + 1, a(x)], 1)[:, :2]), "conv2d_1"),
        (lambda x, a, b: b(F.pad(F.relu(a(x)) + a(x), (0, 1))), "conv2d"),
    ],
    ids=["maximum", "mixing", "product", "through routing", "sum of spikes and current"],
)
def test_every_reader_of_current_that_needs_spikes_is_found(function: Callable[..., torch.Tensor], reader: str) -> None:
    program = captured(Wired(function, conv(1, 2), conv(2, 2)), 2, 1, 4, 4)
    spiking = without_identities(Spike()(program, Context()))
    with pytest.raises(VerifyError, match=rf"(?s)no spikes where spikes are needed.*{reader}.*reads current"):
        verify(spiking)


def without_identities(program: Program) -> Program:
    """The program with the populations that stand for no activation taken out by hand."""
    graph = clone(program.graph)
    for node in list(calls(graph)):
        if node.kwargs.get("function") == "identity":
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return program.replaced(graph=graph)


def test_an_activation_in_an_snn_must_be_a_population_or_declared(ann: Program) -> None:
    left = ann.replaced(dialect=Dialect.SNN)
    with pytest.raises(VerifyError, match=r"%relu = .*neither a population nor a declared exception"):
        verify(left)
    declared = left.replaced(graph=clone(left.graph))
    node = next(node for node in calls(declared.graph) if name_of(node.target) == "aten.relu.default")
    note(node)["floating"] = "for a test"
    with pytest.raises(VerifyError, match=r"reads current from %relu$"):
        verify(declared)


def test_analog_input_may_be_read_by_the_first_layer_and_by_sums_and_scales() -> None:
    program = captured(Wired(lambda x, a: a((x - 0.5) / 2), conv(1, 2)), 2, 1, 4, 4)
    verify(program.replaced(dialect=Dialect.SNN))
    assert list(signals(program.graph).values()) == [Signal.INPUT, Signal.INPUT, Signal.INPUT, Signal.CURRENT]


def test_the_search_for_missing_populations_goes_back_through_routing_and_maxima() -> None:
    function = lambda x, a, b: b(F.max_pool2d(torch.cat([a(x), F.relu(a(x))], 1), 2)) + a(x).cumsum(1)[..., :2, :2]  # noqa: E731
    graph = captured(Wired(function, conv(1, 1), conv(2, 2)), 2, 1, 4, 4).graph
    assert wanted(graph) == {"conv2d": ["cat"], "conv2d_3": ["cumsum"]}


def wanted(graph: fx.Graph) -> dict[str, list[str]]:
    """What `spikeless` finds, by name."""
    return {node.name: [reader.name for reader in readers] for node, readers in spikeless(graph).items()}


def test_only_readers_that_want_spikes_are_told_and_each_once() -> None:
    def function(x: torch.Tensor, a: nn.Module, b: nn.Module) -> torch.Tensor:
        y = a(x)
        return b(y * y.flip(1)) + F.relu(y) + (b(y.flip(2)) + y).mean((2, 3), keepdim=True)

    graph = captured(Wired(function, conv(1, 2), conv(2, 2)), 2, 1, 4, 4).graph
    product = next(node.name for node in calls(graph) if name_of(node.target) == "aten.mul.Tensor")
    assert wanted(graph) == {"conv2d": [product, "flip", "flip_1"], product: ["conv2d_1"]}


RIDES: dict[str, Callable[[torch.Tensor, nn.Module], torch.Tensor]] = {
    "scaled by a number": lambda x, a: a(x) * 0.5,
    "scaled per channel": lambda x, a: a(x) / torch.tensor([2.0, 3.0]).view(2, 1, 1),
    "negated": lambda x, a: -a(x),
    "normed": lambda x, a: F.batch_norm(a(x) + 1, torch.zeros(2), torch.ones(2)),
    "averaged": lambda x, a: F.avg_pool2d(a(x), 2),
    "averaged to a size": lambda x, a: F.adaptive_avg_pool2d(a(x), 2),
    "summed up": lambda x, a: a(x).sum((2, 3)),
    "its mean taken, after routing": lambda x, a: a(x).flatten(2).mean(2),
}


@pytest.mark.parametrize("case", RIDES)
def test_scaling_and_adding_up_are_part_of_the_synapses_that_made_a_current(case: str) -> None:
    program = captured(Wired(RIDES[case], conv(1, 2)), 2, 1, 4, 4)
    assert spikeless(program.graph) == {}
    verify(program.replaced(dialect=Dialect.SNN))
    *_, last, _ = signals(program.graph).values()
    assert last is Signal.CURRENT


@pytest.mark.parametrize("case", RIDES)
def test_on_spikes_they_are_synapses_of_their_own_whose_current_is_not_read_as_spikes(case: str) -> None:
    program = captured(
        Wired(lambda x, a, b: b(RIDES[case](x, lambda x: F.relu(a(x))).view(2, 2, -1)), conv(1, 2), nn.Conv1d(2, 1, 1)), 2, 1, 4, 4
    )
    last = [node for node in calls(program.graph) if name_of(node.target) not in ("aten.reshape.default", "aten.conv1d.default")][-1]
    assert wanted(program.graph) == {last.name: [user.name for user in last.users]}


def test_operations_outside_the_tables_or_the_dialect_are_listed_all_at_once(snn: Program) -> None:
    with pytest.raises(VerifyError, match=r"(?s)not legal in the dialect ann.*%lgamma = .*%digamma = ") as told:
        verify(captured(Wired(lambda x: torch.lgamma(x).relu() + torch.digamma(x)), 2, 3))
    assert "%relu" not in str(told.value)
    with pytest.raises(VerifyError, match=r"not legal in the dialect ann\n  found: %spike_relu = spikeloom.population"):
        verify(snn.replaced(dialect=Dialect.ANN))
    with pytest.raises(VerifyError, match="not legal in the dialect hw"):
        verify(snn.replaced(dialect=Dialect.HW))


def test_a_recurrent_layer_is_an_ann_and_no_snn() -> None:
    program = captured(Wired(lambda x, lstm: lstm(x)[0], nn.LSTM(3, 2)), 4, 2, 3)
    verify(program)
    with pytest.raises(VerifyError, match=r"not legal in the dialect snn\n  found: %lstm = aten.lstm.input"):
        verify(program.replaced(dialect=Dialect.SNN))


def test_missing_constants_are_named(ann: Program) -> None:
    tensors = {name: tensor for name, tensor in ann.tensors.items() if not name.endswith("bias")}
    with pytest.raises(VerifyError, match=r"does not hold\n  found: layers.0.bias, layers.1.bias$"):
        verify(ann.replaced(tensors=tensors))


def test_a_written_shape_that_is_not_the_computed_one_is_named(ann: Program) -> None:
    wrong = ann.replaced(graph=clone(ann.graph))
    next(node for node in calls(wrong.graph) if node.name == "relu").meta["spec"] = ((2, 2, 5, 4), "float32")
    with pytest.raises(VerifyError, match=r"the shape of %relu disagrees\n  found: f32\[2, 2, 4, 4\]\n  allowed: f32\[2, 2, 5, 4\]"):
        verify(wrong)


def test_tensors_that_do_not_fit_together_are_named_where_they_meet(ann: Program) -> None:
    wrong = ann.replaced(tensors={**ann.tensors, "layers.1.weight": torch.zeros(2, 3, 3, 3)})
    with pytest.raises(VerifyError, match=r"shapes disagree\n  found: %conv2d_1 = "):
        verify(wrong)


def test_shapes_are_found_without_computing_a_value(ann: Program) -> None:
    huge = ann.replaced(inputs=(ann.inputs[0].__class__("x", (2**20, 1, 2**10, 2**10), "float32"),))
    assert shapes(huge)["conv2d_1"] == ((2**20, 2, 2**10, 2**10), "float32")
