"""
Streams of batches, checked as they pass. No more is ever taken from a stream than was asked for, so endless ones are welcome.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any, TypeGuard, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from spikeloom.datasets.dataset import Dataset
from spikeloom.errors import DataError

T = TypeVar("T")

INPUT_KEYS = ("pixel_values", "image", "x", "input_features", "inputs")
"""Where the input lies when a loader yields mappings; the first that is there."""


def batches(
    dataset: TorchDataset[Any] | Iterable[Any],
    size: int,
    limit: int | None = None,
    shuffle_seed: int | None = None,
    *,
    expect_shape: tuple[int, ...] | None = None,
    num_classes: int | None = None,
) -> Iterator[tuple[Float[Tensor, "b ..."], Int64[Tensor, " b"]]]:
    """
    Batches (x [b, ...] float32, y [b] int64) of `size` samples, the last one smaller, of the first `limit` samples.

    `dataset` is ours, any other map-style set of (x, y), or an iterable of single (x, y), of which exactly `limit` are taken.
    `shuffle_seed` draws another order, for sets that have a length. DataError, when the batch is asked for, where there are no samples, a
    sample is not of `expect_shape`, holds NaN or infinity, or its label is not in 0 … `num_classes` - 1 (by default the data set's own).
    """
    if size < 1 or (limit is not None and limit < 1):
        raise DataError("these batches cannot be made", found=f"size {size}, limit {limit}", allowed="1 or more")
    known = dataset.num_classes if num_classes is None and isinstance(dataset, Dataset) else num_classes
    return _checked(_raw(dataset, size, limit, shuffle_seed), expect_shape, known, _name(dataset))


def as_batches(
    iterable: Tensor | TorchDataset[Any] | Iterable[Any],
    limit: int | None = None,
    *,
    sample_shape: tuple[int, ...] | None = None,
    size: int = 64,
) -> Iterator[Float[Tensor, "b ..."]]:
    """
    What a user gives as calibration data, as batches of inputs, at most `limit` samples in all.

    Taken are: one tensor or array [n, ...]; a map-style data set of samples; any iterable, also an endless one, of batches [b, ...], of
    (batch, labels), or of mappings with one of INPUT_KEYS, as data loaders yield them. With `sample_shape`, items of just that shape count
    as single samples. DataError, when the batch is asked for, where nothing comes or an item is no tensor, of another shape, or not finite.
    """
    if size < 1 or (limit is not None and limit < 1):
        raise DataError("these batches cannot be made", found=f"size {size}, limit {limit}", allowed="1 or more")
    name = _name(iterable)
    return _checked_inputs(_cut(_inputs(iterable, size, sample_shape, name), _bound(iterable, limit, name)), sample_shape, name)


def shuffled(count: int, seed: int | None) -> list[int]:
    """0 … count - 1, in an order drawn from `seed`; in this order where it is None."""
    if seed is None:
        return list(range(count))
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one smaller; an item is taken only when its list is asked for."""
    stream = iter(items)
    while group := list(islice(stream, size)):
        yield group


def check_inputs(x: Tensor, expect_shape: tuple[int, ...] | None, where: str) -> None:
    """Nothing where x [b, ...] is finite and its samples are of `expect_shape`; else DataError."""
    if expect_shape is not None and tuple(x.shape[1:]) != expect_shape:
        raise DataError(
            f"{where} does not have the shape the model takes",
            found=tuple(x.shape[1:]),
            allowed=expect_shape,
            todo="set preprocessing.size and preprocessing.channels",
        )
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x.flatten(1)).all(dim=1)).nonzero()[0])
        raise DataError(f"{where} holds NaN or infinite values", found=f"sample {bad} of the batch", todo="remove or mend the sample")


def check_labels(y: Int64[Tensor, " b"], num_classes: int | None, where: str) -> None:
    """Nothing where the labels are in 0 … num_classes - 1; else DataError."""
    top = None if num_classes is None else num_classes - 1
    wrong = y[(y < 0) if top is None else (y < 0) | (y > top)]
    if len(wrong):
        raise DataError(
            f"{where} has a label outside the range",
            found=int(wrong[0]),
            allowed="0 or more" if top is None else f"0 to {top}",
            todo="take another split: -1 marks hidden labels" if int(wrong[0]) == -1 else "give model and data set the same classes",
        )


def _raw(dataset: TorchDataset[Any] | Iterable[Any], size: int, limit: int | None, seed: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(dataset, Dataset):
        for rows in groups(shuffled(len(dataset), seed)[:limit], size):
            yield dataset.gather(rows)
        return
    if _is_map_style(dataset):
        samples: Iterable[Any] = (dataset[row] for row in shuffled(len(dataset), seed)[:limit])
    elif seed is None:
        samples = islice(_iterable(dataset), _bound(dataset, limit, _name(dataset)))
    else:
        raise DataError("a stream without a length cannot be shuffled", found=_name(dataset), todo="leave out shuffle_seed")
    for group in groups(samples, size):
        yield _stacked(group, _name(dataset))


def _stacked(group: Sequence[Any], name: str) -> tuple[Tensor, Tensor]:
    """Single (x, y) as a batch."""
    if not all(isinstance(item, tuple | list) and len(item) == 2 for item in group):
        raise DataError(f"{name} does not yield pairs (x, label)", found=type(group[0]).__name__)
    inputs = [_tensor(x, name) for x, _ in group]
    if len({x.shape for x in inputs}) > 1:
        raise DataError(f"samples of {name} differ in shape", found=sorted({tuple(x.shape) for x in inputs}))
    return torch.stack(inputs), torch.tensor([int(y) for _, y in group], dtype=torch.int64)


def _checked(
    stream: Iterator[tuple[Tensor, Tensor]], expect_shape: tuple[int, ...] | None, num_classes: int | None, name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    empty = True
    for number, (x, y) in enumerate(stream):
        empty = False
        check_inputs(x, expect_shape, f"batch {number} of {name}")
        check_labels(y, num_classes, f"batch {number} of {name}")
        yield x, y
    if empty:
        raise DataError(f"{name} is empty", found="no samples", todo="give data with at least one sample")


def _checked_inputs(stream: Iterator[Tensor], sample_shape: tuple[int, ...] | None, name: str) -> Iterator[Tensor]:
    empty = True
    for number, x in enumerate(stream):
        empty = False
        check_inputs(x, sample_shape, f"batch {number} of {name}")
        yield x
    if empty:
        raise DataError(f"{name} is empty", found="no samples", todo="give calibration data with at least one sample")


def _inputs(
    iterable: Tensor | TorchDataset[Any] | Iterable[Any], size: int, sample_shape: tuple[int, ...] | None, name: str
) -> Iterator[Tensor]:
    """The batches of inputs in what the user gave, however long."""
    if isinstance(iterable, Tensor | np.ndarray):
        yield from _tensor(iterable, name).split(size)
    elif isinstance(iterable, Dataset):
        for rows in groups(range(len(iterable)), size):
            yield iterable.gather(rows)[0]
    elif _is_map_style(iterable):
        samples = (_input(iterable[row], name) for row in range(len(iterable)))
        for group in groups(samples, size):
            yield torch.stack(group)
    else:
        for item in _iterable(iterable):
            x = _input(item, name)
            yield x[None] if tuple(x.shape) == sample_shape else x


def _cut(stream: Iterator[Tensor], limit: int | None) -> Iterator[Tensor]:
    """The stream's first `limit` samples; the item after the last one needed is not asked for."""
    left = limit
    while left is None or left > 0:
        x = next(stream, None)
        if x is None:
            return
        if len(x):
            yield x[:left]
        left = None if left is None else left - len(x)


def _input(item: Any, name: str) -> Tensor:
    """The input in what a loader yields: itself, the first of a pair, or the entry of a mapping."""
    if isinstance(item, Mapping):
        key = next((key for key in INPUT_KEYS if key in item), None)
        if key is None:
            raise DataError(f"{name} yields mappings without an input", found=", ".join(map(str, item)), allowed=", ".join(INPUT_KEYS))
        return _tensor(item[key], name)
    if isinstance(item, tuple | list):
        return _tensor(item[0] if item else None, name)
    return _tensor(item, name)


def _tensor(value: Any, name: str) -> Float[Tensor, "..."]:
    if isinstance(value, str):
        todo = 'for a model that reads them, take tokens: tokenizer(texts, return_tensors="pt", padding=True), or an address: text:<file>'
        raise DataError(f"{name} yields texts", found=repr(value[:40]), allowed="tensors, arrays, pairs of them", todo=todo)
    if not isinstance(value, Tensor | np.ndarray) or value.ndim == 0:
        raise DataError(f"{name} yields something that is no tensor", found=type(value).__name__, allowed="tensors, arrays, pairs of them")
    return torch.as_tensor(value).detach().to(torch.float32)


def _is_map_style(iterable: object) -> TypeGuard[Sequence[Any]]:
    """Whether it is a data set of samples to be asked for by number, not a list of batches or a loader."""
    return isinstance(iterable, Sized) and hasattr(iterable, "__getitem__") and not isinstance(iterable, list | tuple | Mapping)


def _iterable(data: object) -> Iterable[Any]:
    if not isinstance(data, Iterable):
        raise DataError("this cannot be taken as data", found=type(data).__name__, allowed="a data set, a loader, or any iterable")
    return data


def _bound(iterable: object, limit: int | None, name: str) -> int | None:
    """The limit. DataError where there is none and the iterable may be endless."""
    if limit is None and not isinstance(iterable, Sized):
        raise DataError(f"{name} has no length, so it may be endless", found="no limit", todo="say how many samples to take")
    return limit


def _name(iterable: object) -> str:
    return iterable.name if isinstance(iterable, Dataset) else f"the {type(iterable).__name__} given as data"
