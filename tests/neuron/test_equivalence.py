"""Temporal-to-spatial equivalence and the rate bound of IF, in exact rationals (a reference written here) and in the code."""

from fractions import Fraction
from math import floor

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.neuron import run_uniform

STEPS = st.integers(1, 16)
PARTS = st.integers(0, 64).map(lambda k: Fraction(k, 64))  # of the threshold
DRIVES = st.integers(-64, 160).map(lambda k: Fraction(k, 64))


def integrate_and_fire(inputs: list[Fraction], theta: Fraction, v: Fraction) -> list[Fraction]:
    """IF with reset by subtraction, a = 1, l = 0."""
    outputs: list[Fraction] = []
    for x in inputs:
        h = v + x
        o = theta if h >= theta else Fraction(0)
        v = h - o
        outputs.append(o)
    return outputs


def scale_and_fire(x: Fraction, theta: Fraction, v: Fraction, levels: int) -> Fraction:
    """theta·clip(floor((x + v)/theta), 0, N)."""
    return theta * min(max(floor((x + v) / theta), 0), levels)


def run(inputs: list[float], theta: float, v0: float, levels: int) -> list[float]:
    x = torch.tensor(inputs, dtype=torch.float64)[:, None]
    step = torch.tensor(theta, dtype=torch.float64)
    o = run_uniform(x, step, v0, 1.0, 0.0, levels=levels, negative=0, reset="subtract", axis=1, timesteps=len(inputs))
    return o[:, 0].tolist()


@settings(deadline=None, max_examples=300)
@given(st.fractions(-2, 4), st.fractions(Fraction(1, 50), 3), st.fractions(0, 1), STEPS)
def test_if_over_time_is_sfn_at_one_step_in_rationals(x: Fraction, theta: Fraction, part: Fraction, steps: int) -> None:
    v0 = part * theta
    mean = sum(integrate_and_fire([x] * steps, theta, v0)) / steps
    assert mean == scale_and_fire(x, theta / steps, v0 / steps, steps)


@settings(deadline=None, max_examples=200)
@given(DRIVES, st.sampled_from([1, 2, 3, 5]), PARTS, st.sampled_from([1, 2, 4, 8, 16]))
def test_if_over_time_is_sfn_at_one_step_in_the_code(x: Fraction, theta: int, part: Fraction, steps: int) -> None:
    v0 = part * theta  # dyadic all through, so that float64 is exact
    over_time = run([float(x)] * steps, theta, float(v0), 1)
    assert over_time == [float(o) for o in integrate_and_fire([x] * steps, Fraction(theta), v0)]
    (at_once,) = run([float(x)], theta / steps, float(v0 / steps), steps)
    assert sum(over_time) / steps == at_once


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 64).map(lambda k: Fraction(k, 32)), min_size=1, max_size=16), st.integers(0, 63))
def test_if_rate_error_is_at_most_theta_over_t(inputs: list[Fraction], part: int) -> None:
    theta, v0, steps = Fraction(2), Fraction(part, 32), len(inputs)
    outputs = run([float(x) for x in inputs], float(theta), float(v0), 1)
    assert abs(sum(map(Fraction, outputs)) - sum(inputs)) <= theta  # |mean o - mean x| <= theta/T
    assert outputs == [float(o) for o in integrate_and_fire(inputs, theta, v0)]
    assert steps == len(outputs)
