"""Noise: as strong as asked for, sample by sample, within 0 and 1, a function of its generator; what it refuses."""

import pytest
import torch

from spikeloom.errors import ConfigError, DataError
from spikeloom.train.noise import NOISES, Noise, at_strength


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bits(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape).float()


SHAPES = [(8, 300), (8, 3, 20, 24)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_a_function_of_its_generator_and_stays_within_0_and_1(kind: str, shape: tuple[int, ...]) -> None:
    x = bits(*shape)
    kept = x.clone()
    one, same, other = (at_strength(x, kind, 0.3, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(x, kept)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == x.shape
    assert 0 <= float(one.min()) <= float(one.max()) <= 1


@pytest.mark.parametrize("kind", NOISES)
def test_no_noise_changes_nothing(kind: str) -> None:
    x = bits(4, 2, 9, 7)
    assert torch.equal(at_strength(x, kind, 0.0, generator()), x)


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5])
def test_the_share_that_changes_is_the_strength(strength: float) -> None:
    x = bits(400, 1, 20, 20)
    changed = {kind: float((at_strength(x, kind, strength, generator()) != x).float().mean()) for kind in ("bit_flip", "salt_and_pepper")}
    assert changed["bit_flip"] == pytest.approx(strength, abs=0.01)
    assert changed["salt_and_pepper"] == pytest.approx(strength / 2, abs=0.01)  # half of what is replaced was so before


@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_a_bit_turns_over_either_way_as_likely(strength: float) -> None:
    x = bits(200, 500)
    noisy = at_strength(x, "bit_flip", strength, generator())
    for value in (0, 1):
        assert float((noisy != x)[x == value].float().mean()) == pytest.approx(strength, abs=0.01)


def test_gaussian_noise_has_the_strength_as_its_deviation() -> None:
    x = torch.full((100, 400), 0.5)
    noisy = at_strength(x, "gaussian", 0.1, generator())
    assert float(noisy.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(noisy.std()) == pytest.approx(0.1, abs=0.005)


def test_a_patch_covers_its_share_in_one_piece() -> None:
    x = torch.ones(300, 2, 20, 20)
    covered = at_strength(x, "occlusion", 0.25, generator()) == 0
    assert bool((covered.flatten(1).float().mean(1) == 0.25).all())  # 10 of 20 rows and columns
    assert torch.equal(covered[:, 0], covered[:, 1])
    rows, columns = covered[:, 0].any(2), covered[:, 0].any(1)
    assert bool(((rows[:, :, None] & columns[:, None, :]) == covered[:, 0]).all())
    assert bool((rows.int().diff(dim=1).abs().sum(1) <= 2).all())
    assert len({int(first) for first in rows.int().argmax(1)}) == 11  # every place in which 10 of 20 fit
    hidden = at_strength(torch.ones(50, 40), "occlusion", 0.25, generator()) == 0
    assert bool((hidden.sum(1) == 10).all())


def test_a_dropped_sensor_is_silent_in_all_its_channels() -> None:
    noisy = at_strength(torch.ones(100, 3, 20, 20), "dropped", 0.3, generator())
    assert torch.equal(noisy[:, 0], noisy[:, 2])
    assert float((noisy == 0).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_an_event_moves_one_place_and_none_is_made() -> None:
    x = torch.zeros(2000, 9)
    x[:, 4] = 1
    noisy = at_strength(x, "jitter", 0.4, generator())
    assert bool((noisy.sum(1) == 1).all())
    assert noisy.mean(0)[3:6].tolist() == pytest.approx([0.2, 0.6, 0.2], abs=0.03)
    ends = torch.zeros(2000, 3)
    ends[:, 0] = 1
    assert float(at_strength(ends, "jitter", 0.4, generator())[:, 0].mean()) == pytest.approx(0.8, abs=0.03)


def test_each_sample_has_a_strength_of_its_own() -> None:
    x, strengths = bits(6, 4000), torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    noisy = Noise(high=0.5).disturbed(x, strengths, generator())
    assert (noisy != x).float().mean(1).tolist() == pytest.approx(strengths.tolist(), abs=0.03)


def test_each_sample_has_one_of_the_kinds() -> None:
    x = torch.full((600, 100), 0.5)
    noisy = Noise(("gaussian", "dropped")).disturbed(x, torch.full((600,), 0.3), generator())
    dropped = (noisy == 0).any(1) & ((noisy == 0) | (noisy == 0.5)).all(1)
    assert 0.4 < float(dropped.float().mean()) < 0.6
    assert bool((noisy[~dropped] != 0.5).float().mean(1).gt(0.9).all())


def test_places_in_the_range_become_strengths() -> None:
    assert Noise(low=0.1, high=0.4).strength(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.1, 0.25, 0.4])


def test_bits_are_turned_over_only_where_there_are_bits() -> None:
    with pytest.raises(DataError, match=r"bits can only be flipped where inputs are bits\n  found: 0.5\n  allowed: 0 and 1"):
        at_strength(torch.tensor([[0.0, 0.5, 1.0]]), "bit_flip", 0.1, generator())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ("snow",)}, "found: snow\n  allowed: bit_flip, salt_and_pepper, gaussian, occlusion, dropped, jitter"),
        ({"kinds": ()}, "found: none"),
        ({"high": 0.6}, "found: 0.0 to 0.6\n  allowed: 0 to 0.5"),
        ({"low": -0.1}, "found: -0.1 to 0.45"),
        ({"low": 0.4, "high": 0.3}, "the lower end first"),
        ({"high": float("nan")}, "found: 0.0 to nan"),
    ],
)
def test_noise_that_cannot_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Noise(**options)  # pyright: ignore[reportArgumentType]
    assert said in str(caught.value)


def test_values_are_cut_to_bits_before_noise() -> None:
    x = torch.rand(4, 50)
    noise = Noise(("bit_flip",), bits_at=0.3)
    strengths = torch.tensor([0.0, 0.1, 0.3, 0.45])
    wanted = NOISES["bit_flip"]((x >= 0.3).float(), strengths, generator())
    assert torch.equal(noise.disturbed(x, strengths, generator()), wanted)
    assert torch.equal(wanted[0], (x[0] >= 0.3).float())
