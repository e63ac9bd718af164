"""Counting against loops: every synapse is visited one by one, and the counts must be the counter's."""

from itertools import product
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, conv
from tests.simulate.networks import ann, balanced, samples, with_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.ir import Program
from spikeloom.simulate import ENCODINGS, Counter, Counts, LayerCount, Recorder, executable, level_of, populations, repeated

Place = tuple[int, int]


def value_of(level: float, encoding: str) -> int:
    """The events of a level: one if graded, its size if unary, its ones in binary."""
    return {"graded": int(level != 0), "unary": int(abs(level)), "binary": int(abs(level)).bit_count()}[encoding]


def counted(program: Program, x: Tensor, timesteps: int = 1, batch: int = 64) -> Counts:
    counter = Counter(program, timesteps)
    for part in x.split(batch):
        counter.add((part,))
    return counter.counts()


def row(counts: Counts, name: str) -> LayerCount:
    (found,) = [each for each in counts.rows if each.node == name]
    return found


def levels(program: Program, x: Tensor, name: str, timesteps: int = 1) -> Tensor:
    """The levels a population sends, [T·B, …]."""
    recorder = Recorder(executable(program, timesteps), [name])
    with torch.no_grad():
        recorder.run(repeated(x, timesteps))
    (node,) = [each for each in populations(program) if each.name == name]
    return level_of(node, program, recorder.kept[name])[0]


def synapses(
    size: Place, channels: Place, kernel: Place, stride: Place, padding: Place, dilation: Place, groups: int, out: Place
) -> Tensor:
    """[C, H, W]: how many weights each input of a convolution meets, by visiting every output and every tap."""
    met = torch.zeros(channels[0], *size)
    inside = channels[0] // groups
    for o, y, x in product(range(channels[1]), range(out[0]), range(out[1])):
        group = o // (channels[1] // groups)
        for c, i, j in product(range(inside), range(kernel[0]), range(kernel[1])):
            at = (y * stride[0] + i * dilation[0] - padding[0], x * stride[1] + j * dilation[1] - padding[1])
            if 0 <= at[0] < size[0] and 0 <= at[1] < size[1]:
                met[group * inside + c, at[0], at[1]] += 1
    return met


def brute(level: Tensor, met: Tensor, encoding: str, count: int) -> float:
    """Σ events × fan-out per inference, element by element."""
    total = 0.0
    for sample in level:
        total += sum(value_of(k, encoding) * m for k, m in zip(sample.flatten().tolist(), met.flatten().tolist(), strict=True))
    return total / count


def after(
    layer: nn.Module, *, head: int | None = None, timesteps: int = 1, method: str = "scale_and_fire", x: Tensor | None = None
) -> tuple[Program, Tensor]:
    """A spiking program in which `layer` reads the spikes of the 4-channel population %spike_relu, and its inputs."""
    end = [] if head is None else [nn.Flatten(), nn.Linear(head, 2)]
    x = torch.randn(3, 2, 6, 6) if x is None else x
    program = capture(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), layer, *end).eval(), (x[:2],))
    return balanced(program, timesteps if method != "scale_and_fire" else 1, method=method), x


CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "padding": {"padding": (1, 2)},
    "stride": {"stride": (2, 1), "padding": 1},
    "dilation": {"dilation": (1, 2), "padding": (0, 2)},
    "groups": {"groups": 2, "padding": 1, "stride": 2},
    "depthwise": {"groups": 4, "padding": 1},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolutions_operations_are_those_of_visiting_every_synapse(name: str) -> None:
    options = CONVOLUTIONS[name]
    layer = nn.Conv2d(4, 8, (3, 2), bias=True, **options)
    program, x = after(layer)
    level = levels(program, x, "spike_relu")
    assert len(level.unique()) > 4
    (out,) = {tuple(layer(torch.zeros(1, 4, 6, 6)).shape[2:])}
    pairs = {key: (value, value) if isinstance(value, int) else value for key, value in options.items() if key != "groups"}
    met = synapses(
        (6, 6),
        (4, 8),
        (3, 2),
        pairs.get("stride", (1, 1)),
        pairs.get("padding", (0, 0)),
        pairs.get("dilation", (1, 1)),
        options.get("groups", 1),
        out,
    )
    found = row(counted(program, x), "conv2d_1")
    assert dict(found.operations) == {encoding: pytest.approx(brute(level, met, encoding, 3)) for encoding in ENCODINGS}
    assert found.macs == 0.0
    assert found.dense_macs == met.sum().item()
    assert found.weights == layer.weight.numel() + 8
    assert found.outputs == 8 * out[0] * out[1]


@pytest.mark.parametrize("timesteps", [1, 3])
def test_counts_are_sums_over_all_steps(timesteps: int) -> None:
    program, x = after(nn.Conv2d(4, 3, 3, padding=1), timesteps=timesteps, method="if")
    level = levels(program, x, "spike_relu", timesteps)
    met = synapses((6, 6), (4, 3), (3, 3), (1, 1), (1, 1), (1, 1), 1, (6, 6))
    counts = counted(program, x, timesteps)
    assert row(counts, "conv2d_1").operations["unary"] == pytest.approx(brute(level, met, "unary", 3))
    assert row(counts, "conv2d_1").dense_macs == met.sum().item()
    first = synapses((6, 6), (2, 4), (3, 3), (1, 1), (1, 1), (1, 1), 1, (6, 6)).sum().item()
    assert row(counts, "conv2d").macs == first * timesteps  # analog pixels cost multiply-accumulates at every step
    assert row(counts, "conv2d").dense_macs == first
    assert row(counts, "spike_relu").events["unary"] == level.abs().sum().item() / 3
    assert counts.spike_share() == pytest.approx(1 - first / (first + met.sum().item()))


def test_a_linear_layer_meets_every_output_once() -> None:
    program, x = after(nn.Flatten(), head=144)
    level = levels(program, x, "spike_relu")
    found = row(counted(program, x), "linear")
    for encoding in ENCODINGS:
        assert found.operations[encoding] == pytest.approx(2 * sum(value_of(k, encoding) for k in level.flatten().tolist()) / 3)
    assert found.dense_macs == 288


POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1},
    "not counting the border": {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    "reaching past the end": {"kernel_size": 4, "stride": 3, "ceil_mode": True},
    "with a divisor": {"kernel_size": 2, "divisor_override": 3},
}


@pytest.mark.parametrize("name", POOLS)
def test_an_average_pools_operations_are_one_for_each_window_a_value_lies_in(name: str) -> None:
    options = POOLS[name]
    pool = nn.AvgPool2d(**options)
    out = tuple(pool(torch.zeros(1, 4, 6, 6)).shape[2:])
    kernel, stride, padding = options["kernel_size"], options.get("stride", options["kernel_size"]), options.get("padding", 0)
    met = synapses((6, 6), (4, 4), (kernel,) * 2, (stride,) * 2, (padding,) * 2, (1, 1), 4, out)
    program, x = after(pool, head=4 * out[0] * out[1])
    level, found = levels(program, x, "spike_relu"), row(counted(program, x), "avg_pool2d")
    assert dict(found.operations) == {encoding: pytest.approx(brute(level, met, encoding, 3)) for encoding in ENCODINGS}
    assert found.dense_macs == found.macs == 0.0  # a pool only adds


@pytest.mark.parametrize("to", [1, 4, 9])
def test_an_adaptive_pools_windows_may_overlap(to: int) -> None:
    program, x = after(nn.AdaptiveAvgPool2d(to), head=4 * to * to)
    met = torch.zeros(4, 6, 6)
    for y, x_ in product(range(to), range(to)):
        rows, columns = (slice(k * 6 // to, -(-(k + 1) * 6 // to)) for k in (y, x_))
        met[:, rows, columns] += 1
    found = row(counted(program, x), "adaptive_avg_pool2d")
    assert found.operations["unary"] == pytest.approx(brute(levels(program, x, "spike_relu"), met, "unary", 3))


def test_a_transposed_convolution_meets_each_tap_of_each_output_channel() -> None:
    program, x = after(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), head=6 * 13 * 13)
    level = levels(program, x, "spike_relu")
    found = row(counted(program, x), "conv_transpose2d")
    assert found.operations["graded"] == pytest.approx(3 * 9 * int((level != 0).sum()) / 3)
    assert found.dense_macs == 4 * 36 * 27


def test_spikes_go_through_pools_and_concatenations_with_their_levels() -> None:
    program = balanced(ann("residual"))
    x = samples(program, 4)
    counts = counted(program, x)
    level = [levels(program, x, name) for name in ("spike_relu_1", "spike_relu_2")]
    pooled = F.max_pool2d(level[0], 3, 2, 1)
    joined = torch.cat([pooled, level[1]], 1)
    for encoding in ENCODINGS:
        events = sum(value_of(k, encoding) for k in joined.flatten().tolist())
        assert row(counts, "linear").operations[encoding] == pytest.approx(3 * events / 4)


def test_a_product_counts_the_pairs_in_which_both_carry_an_event() -> None:
    program = balanced(ann("attention"))
    x = samples(program, 3)
    q, k = (levels(program, x, name) for name in ("spike_linear", "spike_linear_1"))
    pairs = sum(int(q[b, i, c] != 0 and k[b, j, c] != 0) for b, i, j, c in product(range(3), range(5), range(5), range(4)))
    found = row(counted(program, x), "matmul")
    assert dict(found.operations) == dict.fromkeys(ENCODINGS, pytest.approx(pairs / 3))
    assert found.dense_macs == 5 * 5 * 4


def test_an_elementwise_product_counts_pairs_too() -> None:
    program = balanced(ann("gate"))
    x = samples(program, 5)
    left, right = (levels(program, x, name) for name in ("spike_gelu", "spike_sigmoid"))
    (found,) = [each for each in counted(program, x).rows if each.node.startswith("mul")]
    assert found.operations["graded"] == pytest.approx(float(((left != 0) & (right != 0)).sum()) / 5)


def test_counts_do_not_depend_on_how_samples_are_batched() -> None:
    program = balanced(ann("residual"), timesteps=3, method="lif")
    x = samples(program, 7)
    whole, single = counted(program, x, 3), counted(program, x, 3, batch=1)
    assert whole.samples == single.samples == 7
    for a, b in zip(whole.rows, single.rows, strict=True):
        assert (a.node, a.kind, a.neurons, a.levels, a.weights, a.outputs) == (b.node, b.kind, b.neurons, b.levels, b.weights, b.outputs)
        for name in ("macs", "dense_macs", "operations", "events", "rate", "saturation", "silent"):
            assert getattr(a, name) == pytest.approx(getattr(b, name)), (a.node, name)


def test_rate_saturation_and_silence_are_those_of_a_population_seen_by_hand() -> None:
    program = capture(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)), (torch.zeros(2, 4),))
    program = balanced(program, levels=3, per_channel=False)
    program = with_tensors(
        program,
        spike_relu__step=torch.tensor(1.0),
        spike_relu__v0=torch.tensor(0.5),
        **{"0__weight": torch.eye(4), "0__bias": torch.zeros(4)},
    )
    x = torch.tensor([[1.0, 2.0, 3.0, -1.0], [0.0, 1.0, 7.0, 0.0]])  # levels 1 2 3 0 and 0 1 3 0
    counts = counted(program, x)
    found = row(counts, "spike_relu")
    assert dict(found.events) == {"graded": 2.5, "unary": 5.0, "binary": (1 + 1 + 2 + 1 + 2) / 2}
    assert (found.neurons, found.levels, found.rate, found.saturation, found.silent) == (4, 3, 5 / 8, 2 / 8, 1 / 4)
    assert counts.spikes("unary") == 5.0
    assert counts.operations("unary") == 5.0  # one output each
    assert counts.spike_share() == pytest.approx(4 / 20)


def test_a_function_staircases_levels_count_from_its_silent_place() -> None:
    program = balanced(ann("gate"))
    (node,) = [each for each in populations(program) if each.name == "spike_gelu"]
    table = program.tensor(node.args[2])
    silent = int(table.abs().argmin())
    assert table[silent] == 0.0
    level, top = level_of(node, program, table[None].expand(2, -1)[:, None])
    assert level[0, 0].tolist() == [float(k - silent) for k in table.argsort().argsort().tolist()] or table.diff().lt(0).any()
    assert float(level[0, 0, silent]) == 0.0
    assert top >= 1


def test_sums_and_constants_are_not_counted_as_layers() -> None:
    program = capture(Wired(lambda x, a, b: F.relu(b(F.relu(a(x))) + 1.0) * 2.0, conv(2, 4), conv(4, 4)), (torch.randn(2, 2, 5, 5),))
    counts = counted(balanced(program), torch.randn(3, 2, 5, 5))
    assert not [each.node for each in counts.rows if each.node.startswith("add")]
    (scaled,) = [each for each in counts.rows if each.node.startswith("mul")]
    assert scaled.dense_macs == 100  # one multiplication a value
