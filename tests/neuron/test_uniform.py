"""The fast uniform staircase: the same numbers as the law, folded or streamed, with the gradients it promises."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.neuron import Gated, advance_uniform, fire, fire_, gated_step, init_uniform, run_uniform, step, uniform_staircase

EIGHTHS = st.integers(-40, 40).map(lambda k: k / 8)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: the type checker cannot be compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    levels, negative = draw(st.sampled_from([(1, 0), (3, 0), (15, 0), (2, 2), (7, 1), (0, 3)]))
    return {
        "height": draw(st.integers(1, 24)) / 8,
        "levels": levels,
        "negative": negative,
        "decay": draw(st.sampled_from([1.0, 0.75, 0.5])),
        "leak": draw(st.sampled_from([0.0, 0.125, -0.5])),
        "v0": draw(EIGHTHS),
        "reset": draw(st.sampled_from(["subtract", "zero"])),
        "timesteps": draw(st.integers(1, 5)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
        "channels": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


@settings(deadline=None, max_examples=200)
@given(cases())
def test_folded_and_streamed_agree_exactly_with_the_law(case: dict) -> None:  # pyright: ignore[reportMissingTypeArgument]
    steps, dtype = case["timesteps"], case["dtype"]
    generator = torch.Generator().manual_seed(case["seed"])
    x = torch.randint(-40, 40, (steps * 2, 3, 2), generator=generator).to(dtype) / 8
    height = torch.tensor(case["height"], dtype=dtype)
    if case["channels"]:
        height = height * torch.tensor([1.0, 2.0, 0.5], dtype=dtype)
    shape = {"levels": case["levels"], "negative": case["negative"], "reset": case["reset"], "axis": 1}
    before = x.clone()
    folded = run_uniform(x, height, case["v0"], case["decay"], case["leak"], **shape, timesteps=steps)
    assert torch.equal(x, before)
    v = init_uniform(x[:2], case["v0"], axis=1)
    membranes = [torch.full((2, 2), case["v0"], dtype=dtype) for _ in range(3)]
    for t in range(steps):
        x_t = x[2 * t : 2 * t + 2]
        o, v = advance_uniform(x_t, v, height, case["decay"], case["leak"], **shape)
        assert torch.equal(folded[2 * t : 2 * t + 2], o)
        for c in range(3):
            h = float(height.expand(3)[c])
            kind = {"decay": case["decay"], "leak": case["leak"], "reset": case["reset"]}
            law = uniform_staircase(h, case["levels"], case["negative"], **kind)
            literal, membranes[c] = step(membranes[c], x_t[:, c], law)
            assert torch.equal(o[:, c], literal)
            assert torch.equal(v[:, c], membranes[c])


@settings(deadline=None, max_examples=100)
@given(cases())
def test_gated_populations_agree_with_the_law_and_never_take_back_more_than_they_sent(case: dict) -> None:  # pyright: ignore[reportMissingTypeArgument]
    steps, dtype, levels = case["timesteps"] + 3, case["dtype"], max(case["levels"], 1)
    generator = torch.Generator().manual_seed(case["seed"])
    x = torch.randint(-40, 40, (steps * 2, 3), generator=generator).to(dtype) / 8
    height, kind = torch.tensor(case["height"], dtype=dtype), {"levels": levels, "negative": 0, "reset": "gated", "axis": 1}
    folded = run_uniform(x, height, case["v0"], case["decay"], case["leak"], **kind, timesteps=steps)
    tracked = run_uniform(x.clone().requires_grad_(), height, case["v0"], case["decay"], case["leak"], **kind, timesteps=steps)
    assert torch.equal(folded, tracked)
    law = uniform_staircase(case["height"], levels, levels, decay=case["decay"], leak=case["leak"])
    membrane, sent, state = (
        torch.full((2, 3), case["v0"], dtype=dtype),
        torch.zeros(2, 3, dtype=dtype),
        init_uniform(x[:2], case["v0"], axis=1),
    )
    for t in range(steps):
        literal, membrane, sent = gated_step(membrane, sent, x[2 * t : 2 * t + 2], law)
        o, state = advance_uniform(x[2 * t : 2 * t + 2], state, height, case["decay"], case["leak"], **kind)
        assert isinstance(state, Gated)
        assert torch.equal(o, literal)
        assert torch.equal(folded[2 * t : 2 * t + 2], literal)
        assert torch.equal(state.v, membrane)
        assert torch.equal(state.sent * height, sent)
        assert bool((sent >= 0).all())


def test_a_gated_neuron_is_that_of_the_paper() -> None:
    """IF with a second threshold: s+ = θ·[m ≥ θ], s- = θ·[m < 0]·[past output ≥ θ]; by hand."""
    theta, v, total = 1.0, 0.5, 0.0
    currents, expected = [0.75, 0.5, -1.0, -1.0, -1.0, 3.0], []
    for current in currents:
        v += current
        spike = theta * (v >= theta) - theta * (v < 0 and total >= theta)
        v, total = v - spike, total + spike
        expected.append(spike)
    x = torch.tensor(currents)[:, None]
    found = run_uniform(x, torch.tensor(theta), 0.5, 1.0, 0.0, levels=1, negative=0, reset="gated", axis=1, timesteps=len(currents))
    assert found[:, 0].tolist() == expected
    assert min(expected) < 0
    assert run_uniform(x[2:3], torch.tensor(theta), 0.5, 1.0, 0.0, levels=1, negative=0, reset="gated", axis=1, timesteps=1).item() == 0.0


def test_parameters_per_channel_are_tensors_along_the_axis() -> None:
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    height, v0 = torch.tensor([0.5, 1.0, 0.25, 2.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    decay, leak = torch.tensor([0.5, 0.9, 1.0, 0.7]), torch.tensor([0.0, 0.1, -0.1, 0.2])
    shape = {"levels": 7, "negative": 7, "reset": "subtract", "timesteps": 3}
    whole = run_uniform(x, height, v0, decay, leak, axis=1, **shape)
    moved = run_uniform(x.movedim(1, -1), height, v0, decay, leak, axis=-1, **shape).movedim(-1, 1)
    assert torch.equal(whole, moved)
    for c in range(4):
        one = run_uniform(x[:, c], height[c], v0[c], decay[c], leak[c], axis=1, **shape)
        assert torch.equal(whole[:, c], one)


def test_a_half_goes_up() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5])
    o = run_uniform(x, torch.tensor(1.0), 0.5, 1.0, 0.0, levels=9, negative=9, reset="subtract", axis=0, timesteps=1)
    assert o.tolist() == [1.0, 2.0, 3.0, 0.0]  # ties to even would give 0, 2, 2, 0


def test_fire_leaves_its_input_and_its_twin_overwrites_it() -> None:
    h, height = torch.randn(4, 3), torch.tensor([0.5, 0.2, 1.0])
    before = h.clone()
    o = fire(h, height, 3, 1, 1)
    assert torch.equal(h, before)
    assert fire_(h, height, 3, 1, 1) is h
    assert torch.equal(h, o)


def test_gradients_do_not_change_the_output() -> None:
    x = torch.randn(8, 3, 4)
    shape = {"levels": 3, "negative": 2, "reset": "subtract", "axis": 1, "timesteps": 4}
    height = torch.tensor([0.3, 0.7, 0.5])
    plain = run_uniform(x, height, height / 2, 0.9, 0.1, **shape)
    tracked = run_uniform(x.requires_grad_(), height.requires_grad_(), height / 2, 0.9, 0.1, **shape)
    assert tracked.requires_grad
    assert torch.equal(plain, tracked)
    tracked.sum().backward()  # nothing that the backward pass needs was overwritten
    assert height.grad is not None
    assert bool(height.grad.isfinite().all())


def test_input_gradient_is_one_inside_the_range_and_zero_outside() -> None:
    x = torch.tensor([-3.0, -1.1, -0.9, 0.0, 1.2, 3.9, 4.1, 9.0], requires_grad=True)
    o = run_uniform(x, torch.tensor(1.0), 0.0, 1.0, 0.0, levels=3, negative=1, reset="subtract", axis=0, timesteps=1)
    o.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_step_gradient_is_that_of_lsq() -> None:
    x, height = torch.tensor([-2.0, 0.8, 1.3, 9.0]), torch.tensor(0.5, requires_grad=True)
    o = run_uniform(x, height, height / 2, 1.0, 0.0, levels=3, negative=0, reset="subtract", axis=0, timesteps=1)
    for k, expected in enumerate([0.0, 2 - 0.8 / 0.5, 3 - 1.3 / 0.5, 3.0]):  # 0 below, round(z) - z inside, N above
        (gradient,) = torch.autograd.grad(o[k], height, retain_graph=True)
        assert gradient.item() == pytest.approx(expected, abs=1e-6)


def test_gradient_over_time_is_that_of_the_mean() -> None:
    x = torch.full((4, 1), 0.4, requires_grad=True)
    run_uniform(x, torch.tensor(1.0), 0.5, 1.0, 0.0, levels=3, negative=0, reset="subtract", axis=1, timesteps=4).sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0].tolist() == [1.0] * 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("timesteps", [1, 2])
@pytest.mark.parametrize("gradients", [False, True])
def test_compiles_without_graph_breaks(timesteps: int, gradients: bool) -> None:
    def model(x: torch.Tensor, height: torch.Tensor) -> torch.Tensor:
        return run_uniform(x, height, height / 2, 1.0, 0.0, levels=7, negative=0, reset="subtract", axis=1, timesteps=timesteps)

    x, height = torch.randn(4, 3, 5, requires_grad=gradients), torch.tensor([0.5, 0.25, 1.0])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, height), model(x, height))
