"""Loading a data set: address → splits → rows → `Dataset`."""

from pathlib import Path

import numpy as np
import torch

from spikeloom.datasets.address import parse_address
from spikeloom.datasets.dataset import Dataset
from spikeloom.datasets.opening import open_address
from spikeloom.datasets.preprocessing import Preprocessing, plain
from spikeloom.datasets.source import Source
from spikeloom.datasets.splits import Wanted, choose
from spikeloom.errors import DataError


def load(
    address: str,
    split: Wanted,
    preprocessing: Preprocessing | None = None,
    data_root: Path | None = None,
    limit: int | None = None,
    offset: int = 0,
    seed: int = 0,
) -> Dataset:
    """
    The samples of a data set that serve as `split`, at most `limit` of them from the `offset`-th on.

    Training and test samples keep the data set's order; calibration samples are in an order drawn from `seed`, so that `limit` of them are
    a random sample. Without `preprocessing`, 8-bit pictures are divided by 255 in their own size, and arrays of other numbers stay as they
    are. The address is described in `address`, what a split comes from in `splits`. DataError where there is no such set, split or row.
    """
    if offset < 0 or (limit is not None and limit < 1):
        raise DataError("these samples cannot be taken", found=f"limit {limit}, offset {offset}", allowed="limit from 1, offset from 0")
    parsed = parse_address(address)
    splits = open_address(parsed, data_root)
    only: Source | None = next(iter(splits.values()))() if len(splits) == 1 else None
    choice = choose(parsed, list(splits), split, None if only is None else len(only.labels))
    source = splits[choice.split]() if only is None else only
    rows = np.arange(len(source.labels), dtype=np.int64)[choice.rows]
    if split == "calibration":
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).numpy()]
    rows = rows[offset:] if limit is None else rows[offset : offset + limit]
    if len(rows) == 0:
        raise DataError(
            f"the data set {address!r} has no samples to take as {split}",
            found=f"{len(source.labels)} pictures in split {choice.split!r}, from {offset} on",
            todo="choose other rows, another split, or a smaller offset",
        )
    return Dataset(source, rows, preprocessing or native(source), parsed.name, choice.split, choice.note)


def native(source: Source) -> Preprocessing | None:
    """Pixels divided by 255 in their own size and channels; None for arrays of other than 8 bits, which stay as they are."""
    picture = source.picture(0)
    if not isinstance(picture, np.ndarray):
        return plain(1 if picture.mode in ("1", "L", "LA") else 3)
    if picture.dtype != np.uint8:
        return None
    if picture.ndim == 2:
        return plain(1)
    return plain(picture.shape[2] if picture.shape[2] in (1, 3, 4) else picture.shape[0])
