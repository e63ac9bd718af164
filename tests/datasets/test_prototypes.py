"""The seed task: what an address draws, that both splits share their prototypes, and how good the matched filter is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.datasets import Prototypes, load, matched_filter
from spikeloom.datasets.prototypes import SAMPLES, drawn
from spikeloom.errors import DataError


def source_of(address: str, split: str = "test") -> Prototypes:
    source = load(address, split).source  # pyright: ignore[reportArgumentType]
    assert isinstance(source, Prototypes)
    return source


def test_a_sample_is_the_prototype_of_its_label() -> None:
    data = load("prototypes:20x4", "test")
    x, y = data.gather(range(100))
    assert len(data) == SAMPLES["test"] == 50_000
    assert data.num_classes == 4
    assert x.dtype is torch.float32
    assert torch.equal(x, torch.from_numpy(source_of("prototypes:20x4").patterns)[y])
    assert np.bincount(data.labels).tolist() == [12_500] * 4


def test_the_splits_share_prototypes_and_not_their_order() -> None:
    train, test = source_of("prototypes", "train"), source_of("prototypes", "test")
    assert train.patterns.shape == (10, 784)
    assert np.array_equal(train.patterns, test.patterns)
    assert not np.array_equal(train.labels, test.labels[: len(train.labels)])


def test_the_seed_in_the_address_draws_the_prototypes() -> None:
    first, again, other = (source_of(f"prototypes:784x10{end}").patterns for end in ("", "/0", "/1"))
    assert np.array_equal(first, again)
    assert 0.4 < float(np.abs(first - other).mean()) < 0.6
    assert 0.4 < float(first.mean()) < 0.6


def test_prototypes_are_never_alike() -> None:
    assert len({tuple(row) for row in drawn(3, 8, 5)}) == 8
    with pytest.raises(DataError, match="found: 9 of 3 bits"):
        drawn(3, 9, 5)


@pytest.mark.parametrize("place", ["784", "0x10", "784x1", "784x10/", "784x1001", "784x10/4294967296", "ax2"])
def test_an_address_that_draws_nothing_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prototypes cannot be drawn"):
        load(f"prototypes:{place}", "train", data_root=tmp_path)


def test_rows_and_limits_are_taken_as_of_any_data_set() -> None:
    assert len(load("prototypes:8x2[:100]", "train")) == 100
    assert len(load("prototypes:8x2", "test", limit=7)) == 7


def test_the_matched_filter_finds_the_nearest_by_hamming_distance() -> None:
    patterns = torch.from_numpy(drawn(16, 5, 0))
    x = torch.randint(0, 2, (200, 16)).float()
    distances = (x[:, None] - patterns).abs().sum(2)
    assert torch.equal(matched_filter(patterns, x), distances.argmin(1))
