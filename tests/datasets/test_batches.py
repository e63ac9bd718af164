"""Streams of batches: sizes, limits, orders, and one clear error for every kind of bad sample."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from spikeloom.datasets import Dataset, as_batches, batches, load
from spikeloom.datasets.source import ArraySource
from spikeloom.errors import DataError


@pytest.fixture
def digits() -> Dataset:
    return load("digits", "test", limit=50)


class Endless:
    """An iterable without length that counts what is taken from it."""

    def __init__(self, item: Any) -> None:
        self.item, self.taken = item, 0

    def __iter__(self) -> Iterator[Any]:
        for _ in count():
            self.taken += 1
            yield self.item


def small(x: Any, y: Any) -> Dataset:
    return Dataset(ArraySource(np.asarray(x), np.asarray(y)), np.arange(len(y)), None, "small", "test")


# --- batches ----------------------------------------------------------------------------------------------------------------


def test_batches_cover_the_set_in_order(digits: Dataset) -> None:
    found = list(batches(digits, 16))
    assert [len(y) for _, y in found] == [16, 16, 16, 2]
    x, y = digits.gather(range(50))
    assert torch.equal(torch.cat([x for x, _ in found]), x)
    assert torch.equal(torch.cat([y for _, y in found]), y)


def test_limit_and_shuffle(digits: Dataset) -> None:
    assert [len(y) for _, y in batches(digits, 16, 20)] == [16, 4]
    whole = torch.cat([x for x, _ in batches(digits, 16)]).flatten(1)
    once, again, other = (torch.cat([x for x, _ in batches(digits, 16, shuffle_seed=seed)]).flatten(1) for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert not torch.equal(once, whole)
    assert sorted(once.tolist()) == sorted(whole.tolist())


def test_any_map_style_set_and_any_iterable_of_pairs(digits: Dataset) -> None:
    x, y = digits.gather(range(50))
    expected = list(batches(digits, 16))
    for other in (TensorDataset(x, y), list(zip(x, y.tolist(), strict=True)), [(a.numpy(), b) for a, b in zip(x, y, strict=True)]):
        found = list(batches(other, 16))
        assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(found, expected, strict=True))


def test_endless_stream_gives_just_what_is_asked_for() -> None:
    endless = Endless((torch.zeros(1, 2, 2), 1))
    assert [len(y) for _, y in batches(endless, 4, limit=10)] == [4, 4, 2]
    assert endless.taken == 10
    with pytest.raises(DataError, match=r"may be endless\n(.*\n)*.*how many"):
        next(batches(endless, 4))
    with pytest.raises(DataError, match="cannot be shuffled"):
        next(batches(endless, 4, 10, shuffle_seed=0))


@pytest.mark.parametrize("empty", [[], TensorDataset(torch.zeros(0, 1), torch.zeros(0))])
def test_empty_set(empty: Any) -> None:
    with pytest.raises(DataError, match="is empty"):
        next(batches(empty, 4))
    with pytest.raises(DataError, match="is empty"):
        next(batches(iter(()), 4, limit=3))


def test_wrong_size(digits: Dataset) -> None:
    assert next(batches(digits, 4, expect_shape=(1, 8, 8)))[0].shape == (4, 1, 8, 8)
    with pytest.raises(DataError, match=r"found: \(1, 8, 8\)\n  allowed: \(3, 32, 32\)\n(.*)preprocessing.size"):
        next(batches(digits, 4, expect_shape=(3, 32, 32)))


@pytest.mark.parametrize(("label", "classes", "said"), [(3, 3, "0 to 2"), (-1, 3, "hidden labels"), (-1, None, "hidden labels")])
def test_label_outside_the_range(label: int, classes: int | None, said: str) -> None:
    data = [(torch.zeros(2), 0), (torch.zeros(2), label)]
    with pytest.raises(DataError, match=rf"found: {label}\n(.*\n)*.*{said}"):
        next(batches(data, 2, num_classes=classes))


def test_own_labels_are_checked_against_the_sets_classes() -> None:
    named = Dataset(ArraySource(np.zeros((2, 2)), np.array([0, 2]), ("cat", "dog")), np.arange(2), None, "named", "test")
    with pytest.raises(DataError, match="batch 0 of named has a label outside the range"):
        next(batches(named, 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_pixels_that_are_not_finite(bad: float) -> None:
    x = np.zeros((5, 2, 2), np.float32)
    x[3, 1, 1] = bad
    stream = batches(small(x, np.zeros(5, int)), 2)
    next(stream)
    with pytest.raises(DataError, match=r"batch 1 of small holds NaN or infinite values\n  found: sample 1 of the batch"):
        next(stream)


def test_streams_of_something_else() -> None:
    for item, problem in (
        ((torch.zeros(2),), "pairs"),
        (torch.zeros(2), "pairs"),
        (("x", 1), "yields texts"),
        ((torch.tensor(1.0), 1), "no tensor"),
    ):
        with pytest.raises(DataError, match=problem):
            next(batches([item], 2))
    for stream in (batches(TorchDataset(), 2, limit=1), as_batches(TorchDataset(), 1)):  # no length, no iteration
        with pytest.raises(DataError, match="cannot be taken as data"):
            next(stream)
    with pytest.raises(DataError, match="differ in shape"):
        next(batches([(torch.zeros(2), 0), (torch.zeros(3), 0)], 2))


@pytest.mark.parametrize(("size", "limit"), [(0, None), (2, 0)])
def test_sizes_and_limits_below_one(digits: Dataset, size: int, limit: int | None) -> None:
    with pytest.raises(DataError, match="1 or more"):
        batches(digits, size, limit)
    with pytest.raises(DataError, match="1 or more"):
        as_batches(digits, limit, size=size)


# --- as_batches -------------------------------------------------------------------------------------------------------------

X = torch.arange(10 * 3 * 2 * 2, dtype=torch.float32).reshape(10, 3, 2, 2)


def forms() -> dict[str, Any]:
    y = torch.zeros(10, dtype=torch.int64)
    return {
        "tensor": X,
        "array": X.numpy(),
        "doubles": X.double(),
        "list of batches": list(X.split(4)),
        "list of pairs": [(x, None) for x in X.split(4)],
        "list of samples": list(X),
        "loader": DataLoader(TensorDataset(X, y), batch_size=3),
        "map-style set": TensorDataset(X, y),
        "mappings": [{"pixel_values": x, "labels": None} for x in X.split(5)],
        "own": small(X.numpy(), y.numpy()),
    }


@pytest.mark.parametrize("form", list(forms()))
@pytest.mark.parametrize("limit", [None, 7, 100])
def test_every_form_gives_the_same_samples(form: str, limit: int | None) -> None:
    found = torch.cat(list(as_batches(forms()[form], limit, sample_shape=(3, 2, 2))))
    assert found.dtype == torch.float32
    assert torch.equal(found, X[:limit])


def test_nothing_is_taken_beyond_the_limit() -> None:
    endless = Endless(torch.zeros(4, 3))
    assert [len(x) for x in as_batches(endless, 10)] == [4, 4, 2]
    assert endless.taken == 3
    endless = Endless((torch.zeros(4, 3), None))
    assert [len(x) for x in as_batches(endless, 8)] == [4, 4]
    assert endless.taken == 2


def test_endless_without_limit_is_refused() -> None:
    with pytest.raises(DataError, match="may be endless"):
        as_batches(Endless(X))


def test_batches_without_samples_are_passed_over() -> None:
    assert [len(x) for x in as_batches([X[:0], X[:2], X[:0]])] == [2]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "is empty"),
        (X[:0], "is empty"),
        (["x"], "yields texts"),
        ([()], "no tensor"),
        ([{"labels": X}], "without an input"),
        ([X * float("nan")], "NaN or infinite"),
        ([X[:, :1]], r"found: \(1, 2, 2\)"),
    ],
)
def test_bad_calibration_data(data: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        list(as_batches(data, sample_shape=(3, 2, 2)))


def test_takes_part_in_no_gradient() -> None:
    leaf: Tensor = torch.ones(2, 3, requires_grad=True)
    assert not next(as_batches([leaf * 2])).requires_grad
