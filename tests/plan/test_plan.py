"""The plan: what every operation will become, exactly or not, at what cost, and what to do where it cannot."""

from collections.abc import Callable

import pytest
import torch
from tests.ir.networks import Wired, awake, captured, conv
from torch import nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Context, PlanRow, Program, run, text
from spikeloom.plan import Plan, plan, refuse_unsupported, spike_share

PICTURE = (2, 3, 8, 8)
INPUT = "reads the analog input: multiply-accumulates"
AFTER = "an identity population after it makes spikes of its current"


class OwnRelu(nn.ReLU):
    """A subclass that a converter by module type would miss."""


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = kind(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0]


def rows(model: nn.Module, *shape: int) -> dict[str, PlanRow]:
    """The plan by node name, without what computes on sizes alone."""
    return {row.node: row for row in plan(captured(awake(model), *shape)) if row.becomes != "constant"}


def told(model: nn.Module, *shape: int) -> list[str]:
    """The plan as lines: operation, what becomes of it, status, reason."""
    return [
        " | ".join(filter(None, [row.operation.split(".")[1], row.becomes, row.status, row.reason])) for row in rows(model, *shape).values()
    ]


def conv_line(reason: str = INPUT) -> str:
    return f"conv2d | synapses | exact | {reason}".removesuffix(" | ")


POPULATION, STAIRCASE = "population | approximate", "staircase population | approximate"
PLANS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[str]]] = {
    "functional relu": (lambda: Wired(lambda x, c: F.relu(c(x)), conv(3, 4)), PICTURE, [conv_line(), f"relu | {POPULATION}"]),
    "subclass": (lambda: nn.Sequential(conv(3, 4), OwnRelu()), PICTURE, [conv_line(), f"relu | {POPULATION}"]),
    "in place": (
        lambda: Wired(lambda x, c, d: F.silu(d(F.relu(c(x), inplace=True)), inplace=True), conv(3, 4), conv(4, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", conv_line(""), f"silu | {STAIRCASE}"],
    ),
    "max-pool after its activation": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", "max_pool2d | maximum of spikes (logical OR) | exact"],
    ),
    "max-pool before its activation": (
        lambda: nn.Sequential(conv(3, 4), nn.MaxPool2d(2), nn.ReLU()),
        PICTURE,
        [
            conv_line(),
            "max_pool2d | maximum of spikes (logical OR) | exact",
            f"relu | {POPULATION} | moved before the max-pool, which is exact",
        ],
    ),
    "average-pool": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.AvgPool2d(2), conv(4, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", f"avg_pool2d | synapses | exact | {AFTER}", conv_line("")],
    ),
    "global pooling": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
        PICTURE,
        [
            conv_line(),
            f"relu | {POPULATION}",
            f"adaptive_avg_pool2d | synapses | exact | {AFTER}",
            "reshape | routing of spikes | exact",
            "linear | synapses | exact",
        ],
    ),
    "mean of a current": (
        lambda: Wired(lambda x, c: c(x).mean((2, 3)), conv(3, 4)),
        PICTURE,
        [conv_line(), "mean | synapses | exact"],
    ),
    "concatenation, padding, slicing": (
        lambda: Wired(lambda x, c, d: d(F.pad(torch.cat([F.relu(c(x)), F.relu(c(x))], 1)[:, 1:], (0, 1))), conv(3, 2), conv(3, 2)),
        PICTURE,
        [
            *[conv_line(), f"relu | {POPULATION}"] * 2,
            "cat | routing of spikes | exact",
            "slice | routing of spikes | exact",
            "pad | routing of spikes | exact",
            conv_line(""),
        ],
    ),
    "the input beside spikes": (
        lambda: Wired(lambda x, c, d: d(torch.cat([F.relu(c(x)), x], 1)), conv(3, 2), conv(5, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", "cat | routing of spikes | exact", conv_line()],
    ),
    "residual addition": (
        lambda: Wired(lambda x, c, d, e: e(F.relu(d(y := F.relu(c(x))) + y)), conv(3, 4), conv(4, 4), conv(4, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", conv_line(""), "add | sum at the membrane | exact", f"relu | {POPULATION}", conv_line("")],
    ),
    "upsampling by the nearest": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.Upsample(scale_factor=2), conv(4, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", "upsample_nearest2d | routing of spikes | exact", conv_line("")],
    ),
    "bilinear upsampling": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"), conv(4, 2)),
        PICTURE,
        [conv_line(), f"relu | {POPULATION}", f"upsample_bilinear2d | synapses | exact | {AFTER}", conv_line("")],
    ),
    "norm folded": (
        lambda: nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU()),
        PICTURE,
        [conv_line(), "batch_norm | folded into weights | exact", f"relu | {POPULATION}"],
    ),
    "norm that cannot be folded": (
        lambda: nn.Sequential(conv(3, 4), nn.ReLU(), nn.BatchNorm2d(4), conv(4, 2)),
        PICTURE,
        [
            conv_line(),
            f"relu | {POPULATION}",
            f"batch_norm | synapses | exact | cannot be folded into a layer before it: one synapse a channel; {AFTER}",
            conv_line(""),
        ],
    ),
    "squeeze and excite": (
        lambda: Wired(
            lambda x, c, d, e: e((y := F.relu(c(x))) * torch.sigmoid(d(y.mean((2, 3), keepdim=True)))),
            conv(3, 4),
            conv(4, 4, 1),
            conv(4, 2),
        ),
        PICTURE,
        [
            conv_line(),
            f"relu | {POPULATION}",
            f"mean | synapses | exact | {AFTER}",
            conv_line(""),
            f"sigmoid | {STAIRCASE}",
            f"mul | product of spikes | exact | {AFTER}",
            conv_line(""),
        ],
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
        (2, 3),
        [
            f"linear | synapses | exact | {INPUT}",
            "layer_norm | several populations | approximate | square neurons, a square-root neuron, and neurons whose thresholds it scales",
            "linear | synapses | exact",
        ],
    ),
    "attention": (
        lambda: Wired(lambda x, q, k: torch.softmax(q(x) @ k(x).transpose(1, 2), -1), nn.Linear(4, 4), nn.Linear(4, 4)),
        (2, 5, 4),
        [
            *[f"linear | synapses | exact | {INPUT}; {AFTER}"] * 2,
            "transpose | routing of spikes | exact",
            "matmul | product of spikes | exact",
            "softmax | several populations | approximate | "
            "maximum of spikes, exp neurons, their sum and its logarithm's neuron, exp neurons",
        ],
    ),
    "fused attention": (
        lambda: Wired(lambda x, q, o: o(F.scaled_dot_product_attention(q(x), q(x), x)), nn.Linear(4, 4), nn.Linear(4, 2)),
        (2, 5, 4),
        [
            *[f"linear | synapses | exact | {INPUT}"] * 2,
            "scaled_dot_product_attention | several populations | approximate | products of spikes; softmax by exp and logarithm neurons"
            f"; {AFTER}",
            "linear | synapses | exact",
        ],
    ),
    "norm written out": (
        lambda: Wired(lambda x, a: (y := a(x)) / torch.sqrt((y**2).mean(1, keepdim=True) + 1), nn.Linear(3, 4)),
        (2, 3),
        [
            f"linear | synapses | exact | {INPUT}",
            f"pow | {STAIRCASE}",
            "mean | synapses | exact",
            "add | sum at the membrane | exact",
            f"sqrt | {STAIRCASE}",
            f"div | {STAIRCASE} | the square-root neuron scales its thresholds",
        ],
    ),
    "quotient": (
        lambda: Wired(lambda x, a, b: F.relu(a(x)) / b(x), nn.Linear(3, 4), nn.Linear(3, 4)),
        (2, 3),
        [
            f"linear | synapses | exact | {INPUT}",
            f"relu | {POPULATION}",
            f"linear | synapses | exact | {INPUT}",
            "div | several populations | approximate | reciprocal neurons and a product of spikes",
        ],
    ),
    "a function of several values that no neurons are known for": (
        lambda: nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4), conv(4, 2)),
        PICTURE,
        [
            conv_line(),
            "instance_norm | stays floating | floating | "
            f"instance_norm is a function of several values at once, and no neurons are known for it; {AFTER}",
            conv_line(""),
        ],
    ),
}


@pytest.mark.parametrize("case", PLANS)
def test_what_becomes_of_every_operation(case: str) -> None:
    build, shape, wanted = PLANS[case]
    assert told(build(), *shape) == wanted


def test_a_shared_module_called_twice_becomes_two_populations() -> None:
    relu = nn.ReLU()
    found = rows(nn.Sequential(conv(3, 3), relu, conv(3, 3), relu), *PICTURE)
    assert [row.node for row in found.values() if row.becomes == "population"] == ["relu", "relu_1"]


def test_every_scalar_activation_has_its_row() -> None:
    clipped = [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.Hardtanh(-2.0, 0.5)]
    curved = [nn.LeakyReLU(), nn.PReLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.GELU(), nn.Sigmoid(), nn.Tanh(), nn.ELU()]
    curved += [nn.SELU(), nn.CELU(), nn.Softplus(), nn.Mish(), nn.Threshold(0.5, 0.1), nn.RReLU()]
    layers = [*clipped, *curved]
    found = rows(Wired(lambda x, *layers: [layer(x) for layer in layers], *layers), 2, 3).values()
    assert [row.becomes for row in found] == ["population"] * len(clipped) + ["staircase population"] * len(curved)
    assert not any(row.reason for row in found)


@pytest.mark.parametrize(
    ("kind", "name"), [(nn.LSTM, "lstm: aten.lstm.input"), (nn.GRU, "gru: aten.gru.input"), (nn.RNN, "rnn_tanh: aten.rnn_tanh.input")]
)
def test_a_recurrent_layer_is_named_as_unsupported(kind: type[nn.RNNBase], name: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"(?s)^1 operation.*{name}: recurrent layers are not converted yet.*unroll it"):
        refuse_unsupported(plan(captured(Recurrent(kind), 2, 5, 3)))


def test_indices_are_unsupported_and_say_so() -> None:
    found = rows(Wired(lambda x: x.relu().argmax(1)), 2, 3)["argmax"]
    assert (found.status, found.reason, found.todo) == (
        "unsupported",
        "it gives indices, which spikes do not carry",
        "take the argmax outside the model",
    )


def test_everything_unsupported_is_named_in_one_error() -> None:
    program = captured(Wired(lambda x, c: torch.lgamma(torch.digamma(c(x))).relu(), conv(3, 2)), *PICTURE)
    with pytest.raises(UnsupportedError) as error:
        run([Plan()], program, Context())
    assert str(error.value) == (
        "2 operation(s) cannot be converted\n"
        "  found: digamma: aten.digamma.default: aten.digamma.default is not in the rule tables\n"
        "    lgamma: aten.lgamma.default: aten.lgamma.default is not in the rule tables\n"
        "  what to do: open an issue with the operation's name, or rewrite that part of the model"
    )
    refuse_unsupported(plan(captured(nn.ReLU(), 2, 3)))


COUNTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[tuple[int, int]]]] = {
    "conv": (lambda: nn.Conv2d(3, 4, 3), (2, 3, 8, 8), [(4 * 6 * 6 * 27, 4 * 27 + 4)]),
    "strided conv": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), (2, 3, 8, 8), [(4 * 4 * 4 * 27, 4 * 27)]),
    "grouped conv": (lambda: nn.Conv2d(4, 8, 3, groups=2), (2, 4, 8, 8), [(8 * 6 * 6 * 2 * 9, 8 * 2 * 9 + 8)]),
    "depthwise conv": (lambda: nn.Conv2d(4, 4, 3, groups=4), (2, 4, 8, 8), [(4 * 6 * 6 * 9, 4 * 9 + 4)]),
    "conv1d": (lambda: nn.Conv1d(3, 4, 2), (2, 3, 8), [(4 * 7 * 6, 4 * 6 + 4)]),
    "transposed conv": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 5, 5), [(4 * 25 * 3 * 9, 4 * 3 * 9 + 6)]),
    "linear": (lambda: nn.Linear(3, 4), (2, 3), [(12, 16)]),
    "linear on tokens": (lambda: nn.Linear(3, 4), (2, 5, 3), [(5 * 12, 16)]),
    "norm alone": (lambda: nn.BatchNorm2d(3), (2, 3, 8, 8), [(3 * 64, 12)]),
    "norm folded": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), (2, 3, 8, 8), [(4 * 64 * 3, 16), (0, 16)]),
    "product": (lambda: Wired(lambda x: x * x.flip(1)), (2, 3, 4), [(0, 0), (12, 0)]),
    "scores": (lambda: Wired(lambda x: x @ x.transpose(1, 2)), (2, 5, 4), [(0, 0), (5 * 5 * 4, 0)]),
    "attention": (lambda: Wired(lambda x: F.scaled_dot_product_attention(x, x, x)), (2, 5, 4), [(2 * 5 * 5 * 4, 0)]),
    "no arithmetic": (lambda: Wired(lambda x: F.avg_pool2d(F.max_pool2d(x, 2) + 1, 2).relu()), (2, 3, 8, 8), [(0, 0)] * 4),
}


@pytest.mark.parametrize("case", COUNTS)
def test_multiply_accumulates_and_parameters_are_what_a_hand_counts(case: str) -> None:
    build, shape, wanted = COUNTS[case]
    assert [(row.macs, row.parameters) for row in rows(build(), *shape).values()] == wanted


def test_counts_do_not_depend_on_the_batch() -> None:
    model = nn.Sequential(conv(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)).eval()
    assert [row.macs for row in plan(capture(model, (torch.randn(2, *PICTURE[1:]),)))] == [
        row.macs for row in plan(capture(model, (torch.randn(7, *PICTURE[1:]),)))
    ]


def test_the_share_of_spikes_is_that_of_the_layers_that_read_them() -> None:
    found = rows(nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 2), nn.Flatten(), nn.LayerNorm(128), nn.Linear(128, 5)), *PICTURE)
    first, second, last = 4 * 64 * 27, 2 * 64 * 36, 640
    assert [(row.macs, row.spiking) for row in found.values() if row.macs] == [(first, False), (second, True), (last, True)]
    assert spike_share(list(found.values())) == (second + last) / (first + second + last)
    assert spike_share([]) == 1.0


@pytest.fixture(scope="module")
def program() -> Program:
    return captured(awake(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Softmax(1), conv(4, 2))), *PICTURE)


def test_the_pass_writes_the_plan_and_its_sums_and_nothing_else(program: Program) -> None:
    after = run([Plan()], program, Context())
    assert after.plan == plan(program)
    assert text(after) == text(program)
    assert program.plan == ()
    numbers = dict(after.records[-1].numbers)
    first, second = 4 * 64 * 27, 2 * 64 * 36
    assert numbers.pop("spike_share") == second / (first + second)
    assert numbers == {"exact": 3, "approximate": 2, "floating": 0, "macs": first + second, "parameters": 112 + 16 + 74}


def test_planning_twice_gives_the_same_and_leaves_the_program_as_it_was(program: Program) -> None:
    before = text(program)
    assert plan(program) == plan(program)
    assert text(program) == before


def test_an_embedding_of_tokens_multiplies_nothing() -> None:
    tokens = torch.randint(5, (2, 3))
    (row,) = plan(capture(nn.Embedding(5, 4), [tokens]))
    assert (row.becomes, row.reason, row.macs) == ("synapses", "a token is one event that reads its row: nothing is multiplied", 0)
