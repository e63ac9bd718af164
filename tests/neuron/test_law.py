"""The neuron law: `step` against equations (1)-(3) in exact rationals, and every constructor against its definition."""

from fractions import Fraction

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import ConfigError
from spikeloom.neuron import Law, dual_threshold, function_staircase, if_, lif, multi_threshold, sfn, step, uniform_staircase

EIGHTHS = st.integers(-64, 64).map(lambda k: Fraction(k, 8))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: a user meets our errors, not the type checker's."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def float64(numbers: list[Fraction]) -> torch.Tensor:
    return torch.tensor([float(n) for n in numbers], dtype=torch.float64)


def literal(v: Fraction, i: Fraction, law: Law) -> tuple[Fraction, Fraction]:
    """Equations (1)-(3), word for word."""
    h = Fraction(law.decay) * v + i - Fraction(law.leak)
    fired = [h >= Fraction(theta) for theta in law.thresholds.tolist()]
    o = Fraction(law.alpha_0) + sum(Fraction(a) for a, one in zip(law.alpha.tolist(), fired, strict=True) if one)
    if law.reset == "subtract":
        return o, h - Fraction(law.beta_0) - sum(Fraction(b) for b, one in zip(law.beta.tolist(), fired, strict=True) if one)
    at_rest = [theta <= 0 for theta in law.thresholds.tolist()]
    return o, h if fired == at_rest else Fraction(0)


@st.composite
def laws(draw: st.DrawFn) -> Law:
    thresholds = sorted(draw(st.sets(EIGHTHS, min_size=1, max_size=6)))
    heights = st.lists(EIGHTHS, min_size=len(thresholds), max_size=len(thresholds))
    return Law(
        float64(thresholds),
        float64(draw(heights)),
        float64(draw(heights)),
        alpha_0=float(draw(EIGHTHS)),
        beta_0=float(draw(EIGHTHS)),
        decay=draw(st.sampled_from([1.0, 0.75, 0.5, 0.0])),
        leak=float(draw(EIGHTHS)),
        reset=draw(st.sampled_from(["subtract", "zero"])),
    )


@settings(deadline=None, max_examples=200)
@given(laws(), EIGHTHS, st.lists(EIGHTHS, min_size=1, max_size=6))
def test_step_is_the_law_in_exact_rationals(law: Law, v: Fraction, inputs: list[Fraction]) -> None:
    membrane = float64([v])
    for i in inputs:
        o, v = literal(v, i, law)
        output, membrane = step(membrane, float64([i]), law)
        assert output.item() == o
        assert membrane.item() == v


def test_step_works_on_any_shape_and_dtype() -> None:
    law = sfn(0.5, 3, 2)
    v = torch.zeros(2, 3, 4)
    o, after = step(v, torch.randn(2, 3, 4), law)
    assert o.shape == after.shape == v.shape
    assert o.dtype == after.dtype == torch.float32


def test_if_fires_from_the_threshold_on_and_keeps_the_rest() -> None:
    law = if_(2.0)
    assert law.initial == 1.0
    o, v = step(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.75, 1.0, 5.0]), law)
    assert o.tolist() == [0.0, 2.0, 2.0]
    assert v.tolist() == [1.75, 0.0, 4.0]


def test_reset_to_zero_forgets_the_rest() -> None:
    _, v = step(torch.tensor([1.0, 1.0]), torch.tensor([0.75, 5.0]), if_(2.0, reset="zero"))
    assert v.tolist() == [1.75, 0.0]


def test_reset_to_zero_rests_in_the_cell_that_holds_zero() -> None:
    h = torch.tensor([-0.75, -0.25, 0.0, 0.25, 0.5])
    o, v = step(torch.zeros(5), h, uniform_staircase(0.5, 2, 2, reset="zero"))
    assert o.tolist() == [-1.0, -0.5, 0.0, 0.0, 0.5]
    assert v.tolist() == [0.0, 0.0, 0.0, 0.25, 0.0]


def test_lif_decays_by_its_time_constant_and_leaks() -> None:
    law = lif(1.0, tau_mem_ms=20.0, dt_ms=5.0, leak=0.125)
    _, v = step(torch.tensor([0.5], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), law)
    assert v.item() == pytest.approx(0.5 * 2.718281828459045**-0.25 - 0.125, abs=1e-15)


@given(st.integers(1, 6), st.integers(-200, 900))
@settings(deadline=None, max_examples=100)
def test_multi_threshold_cascade_is_the_uniform_staircase(n: int, eighths: int) -> None:
    theta, m = Fraction(4), Fraction(eighths, 64)
    emitted = Fraction(0)
    for i in range(1, n + 1):  # m_{i+1} = m_i - lambda_i s_i, lambda_i = theta/2^(i-1)
        part = theta / 2 ** (i - 1) if m - emitted >= theta / 2 ** (i - 1) else Fraction(0)
        emitted += part
    o, v = step(torch.zeros(1, dtype=torch.float64), float64([m]), multi_threshold(4.0, n))
    assert o.item() == emitted
    assert v.item() == m - emitted
    assert multi_threshold(4.0, n).initial == 2.0 / 2 ** (n - 1)


def test_sfn_is_the_clipped_floor_on_both_sides() -> None:
    h = torch.tensor([-9.0, -1.5, -1.0, -0.25, 0.0, 0.49, 0.5, 1.3, 9.0], dtype=torch.float64)
    o, v = step(torch.zeros_like(h), h, sfn(0.5, 2, 3))
    assert o.tolist() == [-1.5, -1.5, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 1.0]
    assert torch.equal(v, h - o)


def test_dual_threshold_has_a_negative_branch() -> None:
    h = torch.tensor([-3.0, -0.25, 0.0, 1.9, 2.0], dtype=torch.float64)
    law = dual_threshold(2.0, -0.25)
    assert law.initial == 1.0
    o, v = step(torch.zeros_like(h), h, law)
    assert o.tolist() == [-2.0, 0.0, 0.0, 0.0, 2.0]
    assert torch.equal(v, h - o)


def test_function_staircase_takes_the_value_after_each_threshold() -> None:
    law = function_staircase(torch.tensor([-1.0, 0.5]), torch.tensor([2.0, -0.5, 1.0]))
    o, _ = step(torch.zeros(4), torch.tensor([-2.0, -1.0, 0.49, 0.5]), law)
    assert o.tolist() == [2.0, -0.5, -0.5, 1.0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: if_(0.0), "positive"),
        (lambda: sfn(1.0, 0), "at least one step"),
        (lambda: lif(1.0, tau_mem_ms=0.0, dt_ms=1.0), "time constant"),
        (lambda: multi_threshold(1.0, 0), "at least one threshold"),
        (lambda: dual_threshold(1.0, 0.5), "theta_negative"),
        (lambda: function_staircase(torch.zeros(2), torch.zeros(2)), "one value more"),
        (lambda: uniform_staircase(1.0, 2, decay=1.5), "grow"),
        (lambda: uniform_staircase(1.0, 2, reset="soft"), "reset"),  # pyright: ignore[reportArgumentType]
        (lambda: Law(torch.tensor([1.0, 0.0]), torch.ones(2), torch.ones(2)), "ascend"),
        (lambda: Law(torch.tensor([1.0]), torch.ones(2), torch.ones(1)), "one height"),
        (lambda: Law(torch.zeros(0), torch.zeros(0), torch.zeros(0)), "list of thresholds"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_law_that_makes_no_sense_is_refused(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=says):
        make()
