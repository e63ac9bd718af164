"""Packed networks give what executables give, bit for bit, with fewer operations; and they really run by the kernels."""

import math
from collections.abc import Callable

import jaxtyping
import pytest
import torch
from tests.ir.networks import Wired, captured
from tests.simulate.networks import NETWORKS, ann, balanced, samples, stream_of
from torch import Tensor, fx
from torch.nn import functional as F

from spikeloom import kernels
from spikeloom.calibrate import Balance
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Program, name_of, run
from spikeloom.neuron import curve_of, fit_curves
from spikeloom.plan import Fuse
from spikeloom.simulate import SpikingModel, executable, primary
from spikeloom.simulate.kernel import along_of, read_bank, run_population
from spikeloom.simulate.packing import packed


def attending(x: Tensor) -> Tensor:
    """Attention of two heads between norms, wholly of function staircases once it is unfolded."""
    x = F.layer_norm(x, (4,))
    q, k, v = (x.roll(shift, 2).unflatten(2, (2, 2)).transpose(1, 2) for shift in range(3))
    return F.layer_norm(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), (4,))


def top(x: Tensor) -> Tensor:
    """The maximum of a bump."""
    return torch.exp(-F.relu(x).square()).amax(-1, keepdim=True)


def unfolded(placement: str = "density") -> Program:
    program = run([Fuse(), Unfold(), Spike(levels=15, placement=placement)], captured(Wired(attending), 2, 5, 4), Context())
    return run([Balance()], program, Context(stream_of(torch.randn(32, 5, 4, generator=torch.Generator().manual_seed(1)))))


def targets(module: fx.GraphModule) -> list[str]:
    return [node.target.__name__ if node.target in (read_bank, run_population) else name_of(node.target) for node in module.graph.nodes]


@pytest.mark.parametrize("timesteps", [1, 3])
@pytest.mark.parametrize("placement", ["uniform", "curve", "density"])
@pytest.mark.parametrize("name", NETWORKS)
def test_packed_networks_give_the_same(name: str, placement: str, timesteps: int) -> None:
    program = balanced(ann(name), placement=placement)
    x = samples(program, 5 * timesteps)
    plain, fast, before = executable(program, timesteps), packed(executable(program, timesteps)), x.clone()
    held = {key: value.clone() for key, value in fast.state_dict().items()}
    for _ in range(2):
        assert torch.equal(primary(fast(x)), primary(plain(x)))
    assert torch.equal(x, before)
    assert all(torch.equal(value.nan_to_num(9.0), held[key].nan_to_num(9.0)) for key, value in fast.state_dict().items())


def test_attention_packed_reads_rows_and_writes_over_what_is_done() -> None:
    program, x = unfolded(), torch.randn(3, 5, 4)
    plain, fast = executable(program, 1), packed(executable(program, 1))
    assert torch.equal(fast(x), plain(x))
    nodes = {node.name: node for node in fast.graph.nodes}
    assert "aten.sub.Tensor" in targets(plain)
    assert [len(node.kwargs["less"]) for node in nodes.values() if "less" in node.kwargs].count(2) == 1  # exp(x - max - log sum)
    maximum = next(node for node in nodes.values() if name_of(node.target) == "aten.amax.default")
    assert [user.target for user in maximum.users] == [read_bank]
    assert sum("out" in node.kwargs for node in nodes.values()) > 2


def test_levels_along_a_curve_are_computed_in_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.compiler.reset()
    fast, x = packed(executable(unfolded("curve"), 1)), torch.randn(64, 5, 4, generator=torch.Generator().manual_seed(2))
    curves = [node.kwargs["along"] for node in fast.graph.nodes if "along" in node.kwargs]
    assert {curve.form for curve in curves} == {"identity", "square", "power"}
    with torch.inference_mode():
        right = fast(x)
        for made in (torch.compile(fast, dynamic=False), torch.compile(fast, dynamic=False, backend="aot_eager")):
            found = made(x)
            torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-5)
            held = fast.bank_floats.clone()
            for curve in curves:
                fast.bank_floats[curve.start : curve.start + curve.channels] += 0.1
            assert not torch.allclose(made(x), right, atol=1e-3)
            fast.bank_floats.copy_(held)


@pytest.mark.parametrize(("f", "form"), [(torch.nn.Identity(), "identity"), (torch.square, "square"), (torch.exp, "power")])
def test_a_curve_is_its_table_beyond_all_levels_too(f: Callable[[Tensor], Tensor], form: str) -> None:
    edges = torch.linspace(-6, 0 if form == "power" else 6, 2049, dtype=torch.float64)[None]
    masses = torch.exp(-(edges[:, 1:] + edges[:, :-1]).square() / 8)
    kind = "power" if form == "power" else "hyperbolic"
    thresholds, values = (part.float() for part in fit_curves(f, edges, masses, 31, kind=kind, signed=True, centred=form == "square"))
    curve = curve_of(thresholds, values, f, kind=kind, signed=True)
    assert curve is not None
    floats, along = torch.cat([curve.centre, curve.step, curve.growth]), along_of(curve, form, 0)
    h = torch.tensor([[math.inf], [-math.inf], [torch.finfo(torch.float32).min], [-1e30], [0.0], [-1.234], [-0.1]])
    found = torch.ops.spikeloom.along(h, floats, *along, [-1], [], None)
    looked_up = values[0][torch.searchsorted(thresholds[0], h[:, 0].clamp(-3e38, 3e38), right=True)]
    torch.testing.assert_close(found[:, 0], looked_up, atol=1e-6, rtol=1e-6)
    assert torch.ops.spikeloom.along(h * math.nan, floats, *along, [-1], [], None).isnan().all()


@pytest.mark.parametrize("clipped", [lambda x: F.hardtanh(x, -0.5, 1.0), lambda x: F.hardtanh(x, 0.0, 1.0), lambda x: x.clamp(min=0.5)])
def test_clipped_levels_along_a_curve_are_looked_up(clipped: Callable[[Tensor], Tensor]) -> None:
    network = captured(Wired(lambda x, a, b: b(clipped(a(x))), *linears()), 2, 4)
    program = run([Fuse(), Spike(levels=15, placement="curve")], network, Context())
    program = run([Balance()], program, Context(stream_of(4 * torch.randn(256, 4, generator=torch.Generator().manual_seed(1)))))
    (node,) = (node for node in packed(executable(program, 1)).graph.nodes if node.target is read_bank)
    assert node.kwargs.get("along") is None


def linears() -> tuple[torch.nn.Linear, torch.nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)


def test_a_staircase_that_falls_stays_before_its_maximum() -> None:
    program = run([Fuse(), Unfold(), Spike(levels=15, placement="density")], captured(Wired(top), 2, 6), Context())
    program = run([Balance()], program, Context(stream_of(torch.randn(32, 6) * 2)))
    x = torch.randn(9, 6) * 2
    assert torch.equal(packed(executable(program, 1))(x), executable(program, 1)(x))


@pytest.mark.parametrize(("placement", "kernel"), [("uniform", "run_uniform"), ("density", "look_up")])
def test_networks_run_by_the_kernels(placement: str, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = balanced(ann("residual"), placement=placement)
    x, snn = samples(program, 3), SpikingModel(program)
    right = primary(snn(x))
    monkeypatch.setattr(kernels, kernel, lambda x, *_, **__: torch.zeros_like(x))
    assert not torch.equal(primary(snn(x)), right)
    tracked = x.clone().requires_grad_()
    assert torch.equal(primary(snn(tracked)), right)  # gradients: without them
    primary(snn(tracked)).sum().backward()
    assert tracked.grad is not None
