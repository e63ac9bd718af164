"""Function staircases: binary search, the prepared grid, time, channels and gradients."""

import jaxtyping
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spikeloom.neuron import advance_table, function_staircase, index_table, init_table, look_up, read_table, run_table, step
from spikeloom.neuron.grid import MAX_CELLS


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: the type checker cannot be compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def random_table(seed: int, k: int, *channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*channels, k, generator=generator).sort(-1).values, torch.randn(*channels, k + 1, generator=generator)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 10**6))
@example(38, 409)
def test_table_and_its_index_agree_with_the_law(k: int, seed: int) -> None:
    thresholds, values = random_table(seed, k)
    h = torch.cat([torch.randn(200), thresholds, thresholds.nextafter(torch.tensor(-torch.inf)), torch.tensor([-1e30, 1e30])])
    read = read_table(h, thresholds, values, 0)
    literal, _ = step(torch.zeros_like(h), h, function_staircase(thresholds, values))
    torch.testing.assert_close(read, literal)
    index = index_table(thresholds, values)
    if index is None:  # two thresholds lie too close together for a grid
        assert float(thresholds.diff().min()) < 2 * float(thresholds[-1] - thresholds[0]) / MAX_CELLS
    else:
        assert torch.equal(look_up(h, index, 0), read)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_table_per_channel(axis: int) -> None:
    thresholds, values = random_table(1, 9, 4)
    h = torch.randn(4, 4, 4)
    read = read_table(h, thresholds, values, axis)
    for c in range(4):
        assert torch.equal(read.select(axis, c), read_table(h.select(axis, c).contiguous(), thresholds[c], values[c], 0))
    index = index_table(thresholds, values)
    assert index is not None
    assert torch.equal(look_up(h, index, axis), read)


def test_padding_thresholds_are_never_reached() -> None:
    inf = torch.inf
    thresholds = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, inf], [0.5, inf, inf], [inf, inf, inf]])
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 99.0], [5.0, 6.0, 99.0, 99.0], [7.0, 99.0, 99.0, 99.0]])
    h = torch.tensor([-1.0, 0.7, 1e9])[:, None].expand(3, 4)
    expected = [[1.0, 1.0, 5.0, 7.0], [2.0, 2.0, 6.0, 7.0], [4.0, 3.0, 6.0, 7.0]]
    index = index_table(thresholds, values)
    assert index is not None
    assert read_table(h, thresholds, values, 1).tolist() == expected
    assert look_up(h, index, 1).tolist() == expected


def test_thresholds_too_close_for_a_grid_have_no_index() -> None:
    thresholds = torch.tensor([0.0, 1e-9, 1.0], dtype=torch.float64)
    assert index_table(thresholds, torch.zeros(4, dtype=torch.float64)) is None


def test_time_folded_is_time_stepped_and_the_mean_is_the_function_of_the_mean() -> None:
    thresholds, values = random_table(2, 15)
    x, steps = torch.randn(5 * 3, 4, 6), 5
    index = index_table(thresholds, values)
    folded = run_table(x, thresholds, values, axis=1, timesteps=steps, lookup=index)
    state = init_table(x[:3])
    for t in range(steps):
        y, state = advance_table(x[3 * t : 3 * t + 3], state, thresholds, values, axis=1)
        assert torch.equal(folded[3 * t : 3 * t + 3], y)
    mean_of_output = folded.unflatten(0, (steps, 3)).mean(0)
    of_mean = read_table(x.unflatten(0, (steps, 3)).mean(0), thresholds, values, 1)
    torch.testing.assert_close(mean_of_output, of_mean)


def test_one_step_is_the_table_itself() -> None:
    thresholds, values = random_table(3, 15)
    x = torch.randn(3, 4)
    assert torch.equal(run_table(x, thresholds, values, axis=1, timesteps=1), read_table(x, thresholds, values, 1))


def gained(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of two samples or steps by a shape, and a gain that the last axis shares; powers of two, so that divisions are exact."""
    generator = torch.Generator().manual_seed(7)
    gain = 2.0 ** torch.randint(-2, 3, (*shape[:-1], 1), generator=generator)
    return torch.randn(shape, generator=generator), gain


@pytest.mark.parametrize("channels", [(), (5,)])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_gain_scales_the_thresholds(channels: tuple[int, ...], prepared: bool) -> None:
    thresholds, values = random_table(5, 9, *channels)
    h, gain = gained(4, 3, 5)
    index = index_table(thresholds, values) if prepared else None
    found = run_table(h, thresholds, values, gain, axis=2, timesteps=1, lookup=index)
    assert torch.equal(found, run_table(h / gain, thresholds, values, axis=2, timesteps=1))
    for b in range(4):
        for row in range(3):
            own = thresholds * gain[b, row]
            assert torch.equal(found[b, row], read_table(h[b, row], own, values, 0))
    assert not torch.equal(found, run_table(h, thresholds, values, axis=2, timesteps=1, lookup=index))


def test_over_time_a_gain_is_read_by_its_running_mean_too() -> None:
    thresholds, values = random_table(6, 9)
    (x, _), steps = gained(3 * 2, 4, 5), 3
    gain = torch.rand(3 * 2, 4, 1) + 0.5
    folded = run_table(x, thresholds, values, gain, axis=2, timesteps=steps, lookup=index_table(thresholds, values))
    state = init_table(x[:2], gain[:2])
    for t in range(steps):
        here = slice(2 * t, 2 * t + 2)
        o, state = advance_table(x[here], state, thresholds, values, gain[here], axis=2)
        assert torch.equal(folded[here], o)
    mean_x, mean_gain = (part.unflatten(0, (steps, 2)).mean(0) for part in (x, gain))
    torch.testing.assert_close(folded.unflatten(0, (steps, 2)).mean(0), read_table(mean_x / mean_gain, thresholds, values, 2))


def test_gradient_is_the_slope_of_the_staircase() -> None:
    thresholds = torch.tensor([0.5, 1.5, 2.5])
    values = torch.tensor([0.0, 3.0, 6.0, 9.0], requires_grad=True)  # slope 3
    x = torch.tensor([-1.0, 1.0, 2.0, 7.0], requires_grad=True)
    o = run_table(x, thresholds, values, axis=0, timesteps=1, lookup=index_table(thresholds, values.detach()))
    assert o.tolist() == [0.0, 3.0, 6.0, 9.0]
    o.sum().backward()
    assert x.grad is not None
    assert values.grad is not None
    assert x.grad.tolist() == [0.0, 3.0, 3.0, 0.0]
    assert values.grad.tolist() == [1.0, 1.0, 1.0, 1.0]


@pytest.mark.usefixtures("unchecked")
def test_reading_a_prepared_table_compiles_without_graph_breaks() -> None:
    thresholds, values = random_table(4, 15)
    index = index_table(thresholds, values)
    assert index is not None
    h = torch.randn(4, 5)
    compiled = torch.compile(lambda h: look_up(h, index, 1), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(h), look_up(h, index, 1))
