"""The order of samples and the generators behind it."""

import itertools

import pytest
import torch
from torch.utils.data import TensorDataset

from spikeloom.errors import DataError
from spikeloom.train.samples import epoch_order, gather, generator_for


def test_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    orders = {(seed, epoch): epoch_order(100, seed, epoch) for seed in range(3) for epoch in range(3)}
    for order in orders.values():
        assert sorted(order.tolist()) == list(range(100))
    assert len({tuple(order.tolist()) for order in orders.values()}) == 9
    assert torch.equal(orders[1, 2], epoch_order(100, 1, 2))


def test_generators_of_all_purposes_differ() -> None:
    draws = {
        (seed, stream, number): float(torch.rand((), dtype=torch.float64, generator=generator_for(seed, stream, number)))
        for seed, stream, number in itertools.product((0, 1, 2, 2**63), range(3), range(50))
    }
    assert len(set(draws.values())) == len(draws)


def test_gathers_from_any_map_style_set() -> None:
    class Vectorised:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> None:
            raise AssertionError("gather is faster")

        def gather(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return indices[:, None].double(), indices.to(torch.int32)

    rows = torch.tensor([2, 0])
    for samples in (Vectorised(), TensorDataset(torch.arange(3.0)[:, None], torch.arange(3)), [(torch.ones(1) * i, i) for i in range(3)]):
        x, y = gather(samples, rows)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.tolist() == [[2.0], [0.0]]
        assert y.tolist() == [2, 0]


def test_bad_samples() -> None:
    bad = [(torch.zeros(2), 0), (torch.tensor([0.0, float("inf")]), 1), (torch.zeros(3), 1)]
    with pytest.raises(DataError, match=r"NaN or infinite values\n  found: sample 1"):
        gather(bad, torch.tensor([0, 1]))
    with pytest.raises(DataError, match="differ in shape"):
        gather(bad, torch.tensor([0, 2]))
