"""Orthogonal matrices: Hadamard's of every order that is known, rotations of any size, and those that keep the mean."""

import pytest
import torch

from spikeloom.plan.orthogonal import hadamard, has_hadamard, rotation


def test_every_known_order_gives_a_hadamard_matrix() -> None:
    known = [n for n in range(1, 201) if has_hadamard(n)]
    assert set(known) >= {1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 60, 64, 128}
    for n in known:
        h = hadamard(n)
        assert bool((h.abs() == 1).all())
        assert torch.equal(h @ h.t(), n * torch.eye(n, dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 2, 3, 12, 36, 64, 65, 86, 172])
@pytest.mark.parametrize("keeps_mean", [False, True])
def test_rotations_are_orthogonal_and_keep_the_mean_where_asked(size: int, keeps_mean: bool) -> None:
    q = rotation(size, torch.Generator().manual_seed(1), keeps_mean=keeps_mean)
    torch.testing.assert_close(q @ q.t(), torch.eye(size, dtype=torch.float64))
    if keeps_mean:
        x = torch.randn(5, size, dtype=torch.float64)
        torch.testing.assert_close((x @ q).mean(1), x.mean(1))


def test_one_outlier_is_spread_over_all_channels() -> None:
    x = torch.zeros(64, dtype=torch.float64)
    x[7] = 100.0
    for keeps_mean in (False, True):
        q = rotation(64, torch.Generator().manual_seed(2), keeps_mean=keeps_mean)
        assert float((x @ q).abs().max()) < 100.0 / 8 * 4


def test_the_generator_decides() -> None:
    one, same, other = (rotation(12, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
