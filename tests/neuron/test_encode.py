"""Spike encodings: what each promises about means, times and counts."""

import jaxtyping
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import ConfigError
from spikeloom.neuron import encode_direct, encode_latency, encode_rate, encode_rate_regular, events, graded_bits


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: a user meets our errors, not the type checker's."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def over_time(train: torch.Tensor, timesteps: int) -> torch.Tensor:
    return train.unflatten(0, (timesteps, -1))


def test_direct_repeats_time_major() -> None:
    x = torch.tensor([[1.0], [2.0]])
    assert encode_direct(x, 3)[:, 0].tolist() == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]


def test_rate_spikes_have_the_height_and_the_mean_and_repeat_with_the_seed() -> None:
    x = torch.tensor([[-3.0, -1.0, 0.0, 0.5, 2.0]])
    train = encode_rate(x, 4000, torch.Generator().manual_seed(0), peak=2.0)
    assert set(train.unique().tolist()) == {-2.0, 0.0, 2.0}
    expected = torch.tensor([[-2.0, -1.0, 0.0, 0.5, 2.0]])
    torch.testing.assert_close(over_time(train, 4000).mean(0), expected, atol=0.08, rtol=0)
    assert torch.equal(train, encode_rate(x, 4000, torch.Generator().manual_seed(0), peak=2.0))


@given(st.integers(0, 32), st.integers(1, 20))
def test_regular_rate_is_within_one_spike(part: int, timesteps: int) -> None:
    x = torch.tensor([[part / 16]], dtype=torch.float64)
    train = encode_rate_regular(x, timesteps, peak=2.0)
    assert set(train.unique().tolist()) <= {0.0, 2.0}
    assert abs(train.mean().item() - part / 16) <= 2.0 / timesteps


def test_latency_is_one_spike_the_earlier_the_larger() -> None:
    x = torch.tensor([[-1.0, 0.0, 0.01, 0.5, 1.0, 7.0]])
    train = over_time(encode_latency(x, 5), 5)[:, 0]
    assert train.sum(0).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert train.argmax(0)[2:].tolist() == [4, 2, 0, 0]


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=8))
def test_events_count_what_travels(levels: list[int]) -> None:
    k = torch.tensor(levels)
    assert events(k, "unary").tolist() == [abs(n) for n in levels]
    assert events(k, "binary").tolist() == [abs(n).bit_count() for n in levels]
    assert events(k, "graded").tolist() == [int(n != 0) for n in levels]


def test_events_take_levels_as_floats() -> None:
    assert events(torch.tensor([-5.0, 0.0, 7.0]), "binary").tolist() == [2, 0, 3]


def test_graded_bits_hold_every_level_and_a_sign() -> None:
    assert [graded_bits(n) for n in (1, 3, 4, 15, 16, 255)] == [1, 2, 3, 4, 5, 8]
    assert graded_bits(15, 15) == 5
    assert graded_bits(3, 8) == 5


@pytest.mark.usefixtures("unchecked")
def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="graded"):
        events(torch.zeros(1), "morse")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="at least one level"):
        graded_bits(0)
