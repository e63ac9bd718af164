"""Conversion: one population per call site, identity populations where current would be read, and nothing else changed."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, captured, conv, operations
from torch import fx, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance
from spikeloom.convert import METHODS, Spike
from spikeloom.errors import ConfigError, NumericError, VerifyError
from spikeloom.ir import Context, Dialect, Program, calls, name_of, note, population, run, staircase, text, verify
from spikeloom.ir.store import graph_rows
from spikeloom.simulate import SpikingModel

PICTURE = (2, 3, 6, 6)


def spiked(program: Program, **options: Any) -> Program:
    """The converted program, verified."""
    return run([Spike(**options)], program, Context())


def populations(program: Program) -> dict[str, fx.Node]:
    """The populations of a program by name, in execution order."""
    return {node.name: node for node in calls(program.graph) if node.target in (population, staircase)}


def stands_for(program: Program) -> Mapping[str, str]:
    """What every population stands for: the ANN's function, or 'identity'."""
    return {name: str(node.kwargs["function"]) for name, node in populations(program).items()}


@pytest.fixture(scope="module")
def small() -> Program:
    return captured(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), 2, 3)


@pytest.fixture(scope="module")
def curved() -> Program:
    return captured(nn.Sequential(conv(3, 4), nn.GELU(), conv(4, 4), nn.ReLU(), conv(4, 2)), *PICTURE)


def test_a_converted_program_reads_as_text(small: Program) -> None:
    assert text(spiked(small)) == (
        "program snn\n"
        "%input_1 = input f32[2, 3]\n"
        "@0.bias f32[2]\n@0.weight f32[2, 3]\n"
        "@2.bias f32[2]\n@2.weight f32[2, 2]\n"
        "@spike_relu.decay f32[2]\n@spike_relu.leak f32[2]\n@spike_relu.step f32[2]\n@spike_relu.v0 f32[2]\n"
        "%linear = aten.linear.default(%input_1, @0.weight, @0.bias) : f32[2, 2]\n"
        "%spike_relu = spikeloom.population("
        "%linear, @spike_relu.step, @spike_relu.v0, @spike_relu.decay, @spike_relu.leak, "
        "levels=15, negative=0, axis=1, function='relu') : f32[2, 2]\n"
        "%linear_1 = aten.linear.default(%spike_relu, @2.weight, @2.bias) : f32[2, 2]\n"
        "return %linear_1"
    )


RELU = nn.ReLU()
PLACES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, str]]] = {
    "one module called twice": (
        lambda: nn.Sequential(conv(3, 3), RELU, conv(3, 3), RELU, conv(3, 3)),
        PICTURE,
        {"spike_relu": "relu", "spike_relu_1": "relu"},
    ),
    "conv to conv": (lambda: nn.Sequential(conv(3, 4), conv(4, 2)), PICTURE, {"spike_conv2d": "identity"}),
    "conv to average-pool to linear": (
        lambda: nn.Sequential(conv(3, 4), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 2)),
        PICTURE,
        {"spike_avg_pool2d": "identity"},
    ),
    "spikes to average-pool to linear": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 2)),
        PICTURE,
        {"spike_relu": "relu", "spike_avg_pool2d": "identity"},
    ),
    "a current scaled, averaged and summed up on its way": (
        lambda: Wired(
            lambda x, c, d: d(F.avg_pool2d(-(y := c(x) + c(x)) / 2, 2) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) + y.mean(),
            conv(3, 3),
            conv(3, 2),
        ),
        PICTURE,
        {"spike_mul": "identity"},
    ),
    "a current mixed on its way": (
        lambda: Wired(lambda x, c, d: d(F.interpolate(c(x), scale_factor=2, mode="bilinear")), conv(3, 3), conv(3, 2)),
        PICTURE,
        {"spike_conv2d": "identity", "spike_upsample_bilinear2d": "identity"},
    ),
    "squeeze and excite": (
        lambda: Wired(
            lambda x, c, d, e: e((y := F.relu(c(x))) * torch.sigmoid(d(y.mean((2, 3), keepdim=True)))),
            conv(3, 4),
            conv(4, 4, 1),
            conv(4, 2),
        ),
        PICTURE,
        {"spike_relu": "relu", "spike_mean": "identity", "spike_sigmoid": "sigmoid", "spike_mul": "identity"},
    ),
    "current on both sides of a product": (
        lambda: Wired(lambda x, c, d: c(x) * d(x), conv(3, 3), conv(3, 3)),
        PICTURE,
        {"spike_conv2d": "identity", "spike_conv2d_1": "identity"},
    ),
    "current behind routing and a maximum": (
        lambda: Wired(lambda x, c, d: d(F.max_pool2d(torch.cat([c(x), F.relu(c(x))], 1)[:, 1:], 2)), conv(3, 2), conv(3, 2)),
        PICTURE,
        {"spike_conv2d": "identity", "spike_relu": "relu"},
    ),
    "a sum of spikes": (
        lambda: Wired(lambda x, c, d: d(F.relu(y := c(x)) + torch.sigmoid(y)), conv(3, 3), conv(3, 2)),
        PICTURE,
        {"spike_relu": "relu", "spike_sigmoid": "sigmoid", "spike_add": "identity"},
    ),
    "a sum before an activation": (
        lambda: Wired(lambda x, c, d: d(F.relu(c(x) + x)), conv(3, 3), conv(3, 2)),
        PICTURE,
        {"spike_relu": "relu"},
    ),
    "one current read twice": (
        lambda: Wired(lambda x, c, d, e: d(y := c(x)) + e(y), conv(3, 3), conv(3, 2), conv(3, 2)),
        PICTURE,
        {"spike_conv2d": "identity"},
    ),
    "current to an activation and to a layer": (
        lambda: Wired(lambda x, c, d: d(y := c(x)) + F.relu(y), conv(3, 2), conv(2, 2)),
        PICTURE,
        {"spike_conv2d": "identity", "spike_relu": "relu"},
    ),
    "the analog input": (lambda: Wired(lambda x, c: c(F.max_pool2d((x - 0.5) / 2, 2)), conv(3, 3)), PICTURE, {}),
    "layer norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), (2, 3), {"spike_layer_norm": "identity"}),
}


@pytest.mark.parametrize("case", PLACES)
def test_populations_stand_where_spikes_are_needed_and_nowhere_else(case: str) -> None:
    build, shape, wanted = PLACES[case]
    program = captured(build(), *shape)
    before, tensors = (text(program), graph_rows(program.graph)), dict(program.tensors)
    after = spiked(program)
    assert {
        name.rsplit("_", 1)[0] if name.startswith(("spike_mul", "spike_add")) else name: told for name, told in stands_for(after).items()
    } == wanted
    assert after.records[-1].numbers["populations"] == len(wanted)
    assert (text(program), graph_rows(program.graph)) == before
    assert program.tensors == tensors
    assert all(after.tensors[name] is tensor for name, tensor in tensors.items())


def test_an_identity_population_serves_the_readers_that_need_spikes_and_no_other() -> None:
    after = spiked(captured(Wired(lambda x, c, d: d(y := c(x)) + F.relu(y), conv(3, 2), conv(2, 2)), *PICTURE))
    identity = populations(after)["spike_conv2d"]
    assert isinstance(identity.args[0], fx.Node)
    assert {user.name for user in identity.args[0].users} == {"spike_conv2d", "spike_relu"}
    assert {user.name for user in identity.users} == {"conv2d_1"}


def test_signed_populations_follow_affine_layers_and_unsigned_ones_stand_for_relu() -> None:
    after = spiked(captured(nn.Sequential(conv(3, 4), conv(4, 4), nn.ReLU(), nn.AvgPool2d(2), conv(4, 2)), *PICTURE), levels=7)
    assert {name: (node.kwargs["levels"], node.kwargs["negative"]) for name, node in populations(after).items()} == {
        "spike_conv2d": (7, 7),
        "spike_relu": (7, 0),
        "spike_avg_pool2d": (7, 7),
    }


def test_every_scalar_activation_becomes_a_population_that_knows_what_it_stands_for() -> None:
    layers = [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.Hardtanh(-2.0, 0.5), nn.LeakyReLU(0.2), nn.GELU("tanh"), nn.Hardswish(), nn.SiLU()]
    clips = [lambda x: x.clamp(max=0.5), lambda x: x.clamp(-0.5, 0.5), lambda x: x.clamp(0.25, 0.5), lambda x: x.clamp(min=0.0)]
    program = captured(Wired(lambda x, *layers: [function(x) for function in [*layers, *clips]], *layers), 2, 3)
    after = spiked(program, levels=5)
    relu, relu6, tanh, lopsided, *_, upper, symmetric, window, lower = found = list(populations(after).values())
    assert len(found) == len(layers) + len(clips)
    identities = {relu: (0, None), relu6: (0, 6.0), tanh: (5, 1.0), symmetric: (5, 0.5), lower: (0, None)}
    assert {node: (node.kwargs["negative"], note(node).get("cap")) for node in found if node.target is population} == identities
    thresholds = {node: tuple(after.tensors[f"{node.name}.thresholds"].shape) for node in found if node.target is staircase}
    assert all(thresholds[node][-1] == 10 for node in thresholds)
    assert {lopsided, upper, window} <= set(thresholds)
    assert [(note(node)["op"], note(node)["args"]) for node in found][4:7] == [
        ("aten.leaky_relu.default", [0.2]),
        ("aten.gelu.default", []),
        ("aten.hardswish.default", []),
    ]
    assert note(found[5])["kwargs"] == {"approximate": "tanh"}
    assert [note(node)["source"] for node in found] == [node.name for node in calls(program.graph)]


def test_populations_are_born_without_thresholds_and_refuse_to_run(curved: Program) -> None:
    after = spiked(curved)
    unknown = {name for name, tensor in after.tensors.items() if bool(tensor.isnan().any())}
    assert unknown == {"spike_gelu.thresholds", "spike_gelu.values", "spike_relu.step", "spike_relu.v0"}
    with pytest.raises(NumericError, match=r"(?s)no thresholds yet.*spike_gelu, spike_relu.*calibrate the program first"):
        SpikingModel(after)


def test_the_channel_axis_follows_the_shape_and_one_scale_serves_all_where_asked() -> None:
    program = captured(Wired(lambda x, c, d: d(F.relu(c(x)).flatten(2).transpose(1, 2)).relu(), conv(3, 4), nn.Linear(4, 5)), *PICTURE)
    channels, single = spiked(program), spiked(program, per_channel=False)
    assert [(node.kwargs["axis"], tuple(channels.tensors[f"{name}.step"].shape)) for name, node in populations(channels).items()] == [
        (1, (4,)),
        (2, (5,)),
    ]
    assert [tuple(single.tensors[f"{name}.step"].shape) for name in populations(single)] == [(), ()]


def test_density_placement_makes_tables_of_clipped_activations(curved: Program) -> None:
    after = spiked(curved, placement="density", levels=7)
    assert [(node.target, tuple(after.tensors[f"{name}.values"].shape)) for name, node in populations(after).items()] == [
        (staircase, (15,)),
        (staircase, (4, 8)),
    ]


def test_two_range_placement_makes_tables_that_calibration_fills_in_two_ranges(curved: Program) -> None:
    after = spiked(curved, placement="two_range", levels=7)
    gelu, relu = populations(after).values()
    assert (note(relu)["placement"], note(relu)["signed"], tuple(after.tensors[f"{relu.name}.values"].shape)) == (
        "two_range",
        False,
        (4, 8),
    )
    assert "placement" not in note(gelu)
    stream = torch.randn(32, *PICTURE[1:]) ** 3
    made = run([Balance()], after, Context(lambda: [(stream,)]))
    values = made.tensors[f"{relu.name}.values"]
    units = values / values[:, 1:2]
    torch.testing.assert_close(units, units.round(), atol=1e-3, rtol=1e-4)
    assert bool((units[:, -1] > 7).any())


def test_some_populations_may_have_levels_placed_otherwise(curved: Program) -> None:
    after = spiked(curved, placements=(("spike_relu", "density"),), levels=7)
    plain = spiked(curved, levels=7)
    assert [node.target for node in populations(plain).values()] == [staircase, population]
    assert [node.target for node in populations(after).values()] == [staircase, staircase]
    with pytest.raises(ConfigError, match=r"(?s)placement is unknown.*found: dense"):
        spiked(curved, placements=(("spike_relu", "dense"),))


@pytest.mark.parametrize("method", ["if", "lif"])
def test_plain_neurons_have_one_level_a_step_whatever_levels_says(method: str, small: Program) -> None:
    after = spiked(small, method=method, levels=15, tau_mem_ms=5.0, dt_ms=0.5)
    node = populations(after)["spike_relu"]
    assert (node.kwargs["levels"], node.kwargs["negative"]) == (1, 0)
    decay = math.exp(-0.5 / 5.0) if method == "lif" else 1.0
    torch.testing.assert_close(after.tensors["spike_relu.decay"], torch.full((2,), decay))
    assert torch.equal(after.tensors["spike_relu.leak"], torch.zeros(2))


def test_scale_and_fire_neurons_leak_nothing(small: Program) -> None:
    after = spiked(small, tau_mem_ms=5.0)
    assert torch.equal(after.tensors["spike_relu.decay"], torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sfn"}, r"(?s)method is unknown.*found: sfn.*allowed: scale_and_fire, if, lif"),
        ({"levels": 0}, r"(?s)levels is out of range.*found: 0.*allowed: 1 to 65535"),
        ({"levels": 65536}, "levels is out of range"),
        ({"placement": "random"}, r"(?s)placement is unknown.*allowed: uniform, two_range, curve, density"),
        ({"functions": "quantized"}, r"(?s)functions is unknown.*found: quantized.*allowed: staircase, quantised"),
        ({"method": "lif", "tau_mem_ms": 0.0}, "time constant must be positive"),
        ({"method": "lif", "tau_mem_ms": math.nan}, "time constant must be positive"),
        ({"method": "lif", "dt_ms": -1.0}, "time constant must be positive"),
    ],
)
def test_options_that_make_no_neuron_are_refused(options: dict[str, Any], message: str, small: Program) -> None:
    with pytest.raises(ConfigError, match=message):
        Spike(**options)(small, Context())


def test_every_method_is_accepted(small: Program) -> None:
    assert METHODS == ("scale_and_fire", "if", "lif")
    assert all(spiked(small, method=method).dialect is Dialect.SNN for method in METHODS)


def test_plain_quantisation_keeps_functions_floating_and_quantises_their_results(curved: Program) -> None:
    after = spiked(curved, functions="quantised")
    assert operations(after) == ["conv2d", "gelu", "population", "conv2d", "population", "conv2d"]
    assert stands_for(after) == {"spike_gelu": "identity", "spike_relu": "relu"}
    gelu = next(node for node in calls(after.graph) if node.name == "gelu")
    assert note(gelu)["floating"] == "plain quantisation keeps the function"
    assert [user.name for user in gelu.users] == ["spike_gelu"]
    assert populations(after)["spike_gelu"].kwargs["negative"] == 15
    assert after.records[-1].numbers == {"populations": 2, "floating": ["gelu"]}


def test_plain_quantisation_quantises_a_function_that_only_sums_read() -> None:
    model = Wired(lambda x, a, b: F.gelu(a(x)) + torch.sin(b(x)), nn.Linear(3, 4), nn.Linear(3, 4))
    assert stands_for(spiked(captured(model, 2, 3), functions="quantised")) == {"spike_gelu": "identity"}


def test_what_stays_floating_is_declared_and_what_does_not_is_not() -> None:
    layers = (nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    program = captured(Wired(lambda x, a, b, c: c(torch.softmax(b(F.relu(a(x)) / 2 * 3), 1)).std(1), *layers), 2, 3)
    after = spiked(program)
    declared = {node.name: note(node)["floating"] for node in calls(after.graph) if "floating" in note(node)}
    assert declared == {
        "softmax": "it was not unfolded before",
        "std": "std is a function of several values at once, and no neurons are known for it",
    }
    assert after.records[-1].numbers["floating"] == ["softmax", "std"]


def test_converting_what_is_converted_is_refused_before_any_work(small: Program) -> None:
    with pytest.raises(VerifyError, match="Spike cannot follow Spike"):
        run([Spike(), Spike()], small, Context())


WRONG_BEFORE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a slope for each channel": lambda x: F.prelu(x, torch.tensor([0.0, 0.25, 1.0, -0.5])),
    "clipped above alone": lambda x: x.clamp(max=0.3),
    "a half of spikes": lambda x: F.relu(x) / 2,
}


@pytest.mark.parametrize("case", WRONG_BEFORE)
@pytest.mark.parametrize("per_channel", [True, False])
def test_with_many_levels_the_spiking_network_is_the_ann(case: str, per_channel: bool) -> None:
    model = Wired(lambda x, c: WRONG_BEFORE[case](c(x)), conv(3, 4)).eval()
    x = torch.randn(8, *PICTURE[1:])
    after = run([Spike(levels=255, per_channel=per_channel), Balance()], captured(model, *PICTURE), Context(calibration=lambda: [(x,)]))
    with torch.no_grad():
        error = (SpikingModel(after)(x) - model(x)).norm() / model(x).norm()
    assert float(error) < 0.01


def test_activations_of_the_ann_are_gone_from_a_spiking_program(curved: Program) -> None:
    after = spiked(curved)
    verify(after)
    assert {name_of(node.target) for node in calls(after.graph)} == {"aten.conv2d.default", "spikeloom.staircase", "spikeloom.population"}
