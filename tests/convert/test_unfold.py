"""Unfolding: an ANN of scalar functions, sums, maxima and products that computes the same; in spikes, the closer the more levels."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from tests.ir.networks import Wired, captured, operations
from tests.simulate.networks import stream_of
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance, Compensate
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Kind, Program, Signal, calls, driven_by, dynamic, kind, note, run, signals, text, unfolds
from spikeloom.plan import Fuse
from spikeloom.simulate import Recorder, SpikingModel, State, Stream, executable, populations, repeated

ROWS, TOKENS, HEADS, PICTURE = (2, 5), (2, 5, 4), (2, 3, 5, 5), (2, 4, 3, 3)
SOFTMAX = ["amax", "sub", "exp", "sum", "log", "sub", "exp"]
NORM = ["mean", "sub", "square", "mean", "add", "sqrt"]


def causal(hidden: float) -> Tensor:
    return torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1) > 0, hidden)


def attention(x: Tensor, **options: Tensor | float | bool) -> Tensor:
    """Attention of two heads; query, key and value are the tokens in other orders."""
    q, k, v = (x.roll(shift, 2).unflatten(2, (2, 2)).transpose(1, 2) for shift in range(3))
    return F.scaled_dot_product_attention(q, k, v, **options)


def grouped(x: Tensor) -> Tensor:
    """Four heads of queries share two of keys and values."""
    q, k, v = x.unflatten(2, (4, 1)).transpose(1, 2), x[..., :2].unflatten(2, (2, 1)).transpose(1, 2), x[..., 2:].unflatten(2, (2, 1))
    return F.scaled_dot_product_attention(q, k, v.transpose(1, 2), enable_gqa=True)


def llama(x: Tensor, gain: Tensor | float) -> Tensor:
    return gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def centred(x: Tensor) -> Tensor:
    """A layer norm written out, with scale and shift behind it."""
    c = x - x.mean(-1, keepdim=True)
    return c * (c.pow(2).mean(-1, keepdim=True) + 1e-5) ** -0.5 * GAIN + SHIFT


def rooted(x: Tensor) -> Tensor:
    r = (x.square().sum(-1, keepdim=True) + 1).rsqrt()
    return x * r + r + (r * x).relu()


GAIN, SHIFT = torch.tensor([0.5, -1.0, 2.0, 1.5]), torch.tensor([1.0, 0.0, -2.0, 0.25])
SEEN = torch.ones(5, 5).tril() > 0
EXACT: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...], list[str] | None]] = {
    "softmax over the last": (lambda x: x.softmax(-1), HEADS, SOFTMAX),
    "softmax over channels": (lambda x: x.softmax(1), HEADS, SOFTMAX),
    "softmax in another precision": (lambda x: x.softmax(-1, dtype=torch.float64), ROWS, None),
    "softmax masked by minus infinity": (lambda x: (x + causal(-torch.inf)).softmax(-1), HEADS, ["add", *SOFTMAX]),
    "softmax masked by the lowest number": (lambda x: (x + causal(torch.finfo(x.dtype).min)).softmax(-1), HEADS, ["add", *SOFTMAX]),
    "softmax of large numbers": (lambda x: (400 * x).softmax(-1), HEADS, ["mul", *SOFTMAX]),
    "softmin": (lambda x: F.softmin(x, -1), ROWS, ["neg", *SOFTMAX]),
    "log-softmax": (lambda x: x.log_softmax(-1), ROWS, SOFTMAX[:-1]),
    "log-softmax over channels": (lambda x: x.log_softmax(1), PICTURE, SOFTMAX[:-1]),
    "attention": (attention, TOKENS, None),
    "attention, a mask of who sees": (lambda x: attention(x, attn_mask=SEEN), TOKENS, None),
    "attention, some see nobody": (lambda x: attention(x, attn_mask=torch.ones(5, 5).tril(-1) > 0), TOKENS, None),
    "attention, a mask to add": (lambda x: attention(x, attn_mask=torch.linspace(-2, 2, 25).view(5, 5)), TOKENS, None),
    "attention, minus infinity to add": (lambda x: attention(x, attn_mask=causal(-torch.inf)), TOKENS, None),
    "attention, causal": (lambda x: attention(x, is_causal=True), TOKENS, None),
    "attention, a scale": (lambda x: attention(x, scale=3.0), TOKENS, None),
    "attention, groups of queries": (grouped, TOKENS, None),
    "layer norm": (lambda x: F.layer_norm(x, (4,)), TOKENS, [*NORM, "div"]),
    "layer norm, scale and shift": (lambda x: F.layer_norm(x, (4,), GAIN, SHIFT, 0.1), TOKENS, [*NORM, "mul", "mul", "add", "div"]),
    "layer norm, scale": (lambda x: F.layer_norm(x, (4,), GAIN), TOKENS, [*NORM, "mul", "div"]),
    "layer norm, shift": (lambda x: F.layer_norm(x, (4,), None, SHIFT), TOKENS, [*NORM, "mul", "add", "div"]),
    "layer norm over two axes": (lambda x: F.layer_norm(x, (3, 3), torch.eye(3) + 1, torch.eye(3)), PICTURE, None),
    "RMS norm": (lambda x: F.rms_norm(x, (4,)), TOKENS, [*NORM[2:], "div"]),
    "RMS norm, scale": (lambda x: F.rms_norm(x, (4,), GAIN, 0.1), TOKENS, [*NORM[2:], "mul", "div"]),
    "group norm": (lambda x: F.group_norm(x, 2), PICTURE, ["unflatten", *NORM, "div", "flatten"]),
    "group norm, scale and shift": (lambda x: F.group_norm(x, 2, GAIN, SHIFT, 0.1), (2, 4, 6), None),
    "RMS norm written out": (lambda x: llama(x, GAIN), TOKENS, ["pow", "mean", "add", "sqrt", "mul", "div"]),
    "RMS norm written out, no scale": (lambda x: llama(x, 1.0), TOKENS, ["pow", "mean", "add", "sqrt", "mul", "div"]),
    "layer norm written out": (centred, TOKENS, ["mean", "sub", "pow", "mean", "add", "sqrt", "mul", "mul", "add", "div"]),
    "a root that divides, read twice": (rooted, TOKENS, None),
    "a root that divides a constant": (lambda x: GAIN * (x.square().mean(-1, keepdim=True) + 1).rsqrt(), TOKENS, None),
    "a root that divides itself": (lambda x: (r := (x.square().mean(-1, keepdim=True) + 1).rsqrt()) * r, TOKENS, None),
    "a scale of another shape behind a root": (lambda x: GAIN[:, None, None] * llama(x, 1.0), (2, 1, 5, 3), None),
    "variance": (lambda x: x.var(-1), TOKENS, [*NORM[:4], "mul"]),
    "variance of all, uncorrected": (lambda x: x.var((1, 2), correction=0, keepdim=True), TOKENS, NORM[:4]),
    "length": (lambda x: torch.linalg.vector_norm(x, dim=(1, 2)), TOKENS, ["square", "sum", "sqrt"]),
    "length, kept": (lambda x: x.norm(dim=1, keepdim=True), TOKENS, ["square", "sum", "sqrt"]),
    "a / b": (lambda x: x / (x.flip(1).square() + 1), TOKENS, ["flip", "square", "add", "reciprocal", "mul"]),
    "1 / b": (lambda x: 1 / (x.square() + 1), TOKENS, ["square", "add", "reciprocal", "mul"]),
}


@pytest.mark.parametrize("case", EXACT)
def test_what_is_unfolded_computes_the_same_and_leaves_no_function_of_several_values(case: str) -> None:
    function, shape, wanted = EXACT[case]
    program = captured(Wired(function), *shape)
    before = text(program)
    after = run([Unfold()], program, Context())
    x = 2 * torch.randn(7, *shape[1:])
    torch.testing.assert_close(after.module()(x), function(x), atol=1e-5, rtol=1e-5)
    live = dynamic(after.graph)
    assert not [node for node in calls(after.graph) if kind(node, live) is Kind.NORM and unfolds(node, live)]
    assert wanted is None or operations(after) == wanted
    assert text(program) == before
    assert run([Unfold()], after, Context()).records[-1].numbers["unfolded"] == []


def test_a_quotient_stays_whole_only_where_a_root_divides() -> None:
    function = lambda x: x / torch.sqrt(x.square() + 1) + x / (x.square() + 1)  # noqa: E731
    after = run([Unfold()], captured(Wired(function), *TOKENS), Context())
    assert operations(after) == ["square", "add", "sqrt", "div", "square", "add", "reciprocal", "mul", "add"]
    assert run([Unfold()], captured(Wired(lambda x: x / 2), *TOKENS), Context()).records[-1].numbers == {"unfolded": []}


def test_what_has_no_neurons_stays_and_the_record_names_what_was_unfolded() -> None:
    after = run([Unfold()], captured(Wired(lambda x: F.instance_norm(x).softmax(1).std(1)), *PICTURE), Context())
    assert operations(after) == ["instance_norm", *SOFTMAX, "std"]
    assert after.records[-1].numbers == {"unfolded": ["softmax"]}
    assert "softmax" in {node.name for node in calls(after.graph)}  # what stands at its end has its name


def test_attention_alone_is_opened_where_asked() -> None:
    program = captured(Wired(lambda x: F.layer_norm(attention(x), (2,))), *TOKENS)
    after = run([Unfold("attention")], program, Context())
    assert "scaled_dot_product_attention" not in operations(after)
    assert {"softmax", "layer_norm"} <= set(operations(after))
    x = torch.randn(3, *TOKENS[1:])
    torch.testing.assert_close(after.module()(x), program.module()(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"(?s)parts to unfold are unknown.*found: norms.*allowed: all, attention"):
        Unfold("norms")(program, Context())


# --- in spikes ----------------------------------------------------------------------------------------------------------


class Rms(nn.Module):
    """RMSNorm as Hugging Face's models write it out."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return llama(x, self.weight)


def attending(x: Tensor, a: nn.Module, attend: nn.Module, head: nn.Module) -> Tensor:
    y = a(x)
    return head(F.relu(y + attend(y, y, y, need_weights=False)[0]))


def looking_back(x: Tensor, q: nn.Module, k: nn.Module, v: nn.Module, head: nn.Module) -> Tensor:
    """Causal attention, its scores capped so that they lie near one another."""
    a, b, c = (layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (q, k, v))
    return head(F.scaled_dot_product_attention(0.1 * a, b, c, is_causal=True).transpose(1, 2).flatten(2))


def block(x: Tensor, a: nn.Module, norm: nn.Module, attend: nn.Module, rms: nn.Module, up: nn.Module, down: nn.Module) -> Tensor:
    y = a(x)
    z = norm(y)
    y = y + attend(z, z, z, need_weights=False)[0]
    return (y + down(F.gelu(up(rms(y))))).mean(1)


def attend() -> nn.Module:
    return nn.MultiheadAttention(8, 2, batch_first=True)


def layer_norm() -> nn.LayerNorm:
    norm = nn.LayerNorm(8)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


SPIKING: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "layer norm": (lambda: nn.Sequential(nn.Linear(6, 8), layer_norm(), nn.ReLU(), nn.Linear(8, 3)), (2, 6)),
    "RMS norms": (lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Linear(8, 8), Rms(8), nn.Linear(8, 3)), (2, 4, 6)),
    "attention": (lambda: Wired(attending, nn.Linear(6, 8), attend(), nn.Linear(8, 3)), (2, 4, 6)),
    "causal attention": (lambda: Wired(looking_back, *(nn.Linear(6, 8) for _ in range(3)), nn.Linear(8, 3)), (2, 4, 6)),
    "transformer": (
        lambda: Wired(block, nn.Linear(6, 8), layer_norm(), attend(), Rms(8), nn.Linear(8, 12), nn.Linear(12, 8)),
        (2, 4, 6),
    ),
}


@cache
def network(name: str) -> tuple[nn.Module, Program, Tensor]:
    """A model, its program, and what it is calibrated and judged on."""
    build, shape = SPIKING[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = build().eval()
        return model, captured(model, *shape), torch.randn(192, *shape[1:])


@cache
def spiking(name: str, levels: int, compensated: bool = False) -> Program:
    _, program, x = network(name)
    passes = [Fuse(), Unfold(), Spike(levels=levels), Balance(), *([Compensate()] if compensated else [])]
    return run(passes, program, Context(stream_of(x)))


def error_of(name: str, program: Program, timesteps: int) -> float:
    model, _, x = network(name)
    with torch.no_grad():
        exact = model(x)
        return float((SpikingModel(program, timesteps=timesteps)(x) - exact).norm() / exact.norm())


@pytest.mark.parametrize("name", SPIKING)
def test_nothing_stays_floating_and_the_error_falls_as_levels_grow(name: str) -> None:
    for timesteps in (1, 2):
        coarse, middle, fine = (error_of(name, spiking(name, levels), timesteps) for levels in (15, 63, 255))
        assert coarse > 2 * middle > 4 * fine
        assert coarse > 10 * fine  # 255 levels are 17 times as many as 15
        assert fine < 0.01
    made = spiking(name, 15)
    assert not [node.name for node in calls(made.graph) if "floating" in note(node)]
    assert made.records[-2].numbers["floating"] == []
    assert made.records[-2].numbers["populations"] == len(populations(made))


@pytest.mark.parametrize("name", SPIKING)
def test_streaming_gives_what_the_folded_run_gives(name: str) -> None:
    """At every node, gains and maxima of scores included, though the input changes."""
    program, steps = spiking(name, 15), 3
    xs = [network(name)[2][k : k + 5] + k for k in range(steps)]
    names = [node.name for node in populations(program)]
    recorder = Recorder(executable(program, steps), names)
    raw = recorder.run(torch.cat(xs)).unflatten(0, (steps, -1))

    class Seen(Stream):  # type: ignore[misc]
        def run_node(self, n):  # type: ignore[no-untyped-def]
            value = super().run_node(n)
            if n.name in recorder.wanted:
                torch.testing.assert_close(recorder.kept[n.name].unflatten(0, (steps, -1))[t], value, atol=1e-4, rtol=1e-4, msg=n.name)
            return value

    stream, state = Seen(program), State()
    for t, x in enumerate(xs):
        output, state = stream.advance((x,), state)
        torch.testing.assert_close(output, raw[t], atol=1e-4, rtol=1e-4)
    assert float(raw.std(0).max()) > 0
    snn, state, total = SpikingModel(program, timesteps=steps), None, torch.zeros(())
    for _ in range(steps):
        output, state = snn.step(xs[0], state=state)
        total = total + output
    torch.testing.assert_close(total / steps, snn(xs[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SPIKING)
def test_compensation_brings_it_nearer(name: str) -> None:
    least = 0.98 if name == "attention" else 0.96  # a single block without a second one to make up for it
    assert error_of(name, spiking(name, 7, compensated=True), 1) < least * error_of(name, spiking(name, 7), 1)


def test_gains_are_spikes_and_never_zero() -> None:
    program = spiking("transformer", 15)
    gained = [node for node in populations(program) if len(driven_by(node)) > 1]
    assert [node.kwargs["function"] for node in gained] == ["identity", "identity"]
    carried = signals(program.graph)
    for node in gained:
        root = node.args[3]
        assert isinstance(root, torch.fx.Node)
        assert (carried[root], root.kwargs["function"]) == (Signal.SPIKE, "sqrt")
        assert float(program.tensor(root.args[2]).min()) > 0


def test_who_is_masked_is_silent_however_near_one_another_the_scores_lie() -> None:
    program, hidden = spiking("causal attention", 15), torch.ones(4, 4).triu(1) > 0
    names = [node.name for node in populations(program) if node.kwargs["function"] == "exp"]
    assert len(names) == 2
    for timesteps in (1, 2):
        recorder = Recorder(executable(program, timesteps), names)
        recorder.run(repeated(network("causal attention")[2], timesteps))
        for name in names:
            assert float(recorder.kept[name][..., hidden].abs().max()) == 0.0
            assert float(recorder.kept[name][..., ~hidden].min()) > 0.0 or timesteps > 1


def test_a_later_token_changes_nothing_before_it() -> None:
    snn, x = SpikingModel(spiking("causal attention", 15)), network("causal attention")[2][:8]
    later = torch.cat([x[:, :2], torch.randn(8, 2, 6)], 1)
    assert torch.equal(snn(x)[:, :2], snn(later)[:, :2])
    assert not torch.equal(snn(x)[:, 2:], snn(later)[:, 2:])
