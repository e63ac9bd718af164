"""
Which rows of which split a request means.

asked        comes from
train        the split train (or training)
calibration  the same, in an order drawn from the seed
test         the split test (or testing, t10k), else validation (valid, val, dev)

Where the address names a split or rows, those are what is meant, whatever is asked. Where there is only one split and the address says
no more, its first fifth serves for training and calibration and the rest for testing; the note says so.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, final, get_args

from spikeloom.datasets.address import Address
from spikeloom.errors import DataError

Wanted = Literal["train", "calibration", "test"]

TRAIN = ("train", "training")
VALIDATION = ("validation", "valid", "val", "dev")
TEST = ("test", "testing", "t10k")
LOOKED_UP = {"train": (*TRAIN, *VALIDATION), "calibration": (*TRAIN, *VALIDATION), "test": (*TEST, *VALIDATION)}

FIRST_PART = 0.2
"""What part of a set of one split serves for calibration."""


@final
@dataclass(frozen=True)
class Choice:
    """A split by its own name, which of its rows, and in words what was chosen beyond the ordinary."""

    split: str
    rows: slice
    note: str


def is_split_name(name: str) -> bool:
    """Whether a folder or file of this name is a split."""
    return re.sub(r"\d+$", "", name.lower()) in {*TRAIN, *VALIDATION, *TEST, "all"}


def choose(address: Address, splits: Collection[str], wanted: Wanted, count: int | None = None) -> Choice:
    """
    The split and the rows that `wanted` means; `count` is the number of rows of a set's only split, needed where it has to be parted.

    DataError lists the splits there are where none is meant.
    """
    if wanted not in get_args(Wanted):
        raise DataError("there is no such part of a data set", found=wanted, allowed=", ".join(get_args(Wanted)))
    split, only = _split(address, splits, wanted), len(splits) == 1
    if address.rows is not None:
        return Choice(split, address.rows, f"rows {_words(address.rows)} of split {split!r}, as the address says")
    if address.split is not None:
        return Choice(split, slice(None), f"split {split!r}, as the address says")
    if only and count is not None:
        first = max(1, int(count * FIRST_PART))
        note = f"the only split is {split!r} ({count} pictures): its first {first} serve for training and calibration, the rest for testing"
        return Choice(split, slice(first, None) if wanted == "test" else slice(first), note)
    usual = TEST if wanted == "test" else TRAIN
    return Choice(split, slice(None), "" if split in usual else f"split {split!r} serves as {wanted}: there is no other")


def _split(address: Address, splits: Collection[str], wanted: Wanted) -> str:
    by_name = {name.lower(): name for name in splits}
    if address.split is not None:
        candidates = (address.split.lower(),)
    elif len(splits) == 1:
        candidates = tuple(by_name)
    else:
        candidates = LOOKED_UP[wanted]
    found = next((by_name[name] for name in candidates if name in by_name), None)
    if found is None:
        raise DataError(
            f"the data set {address.name!r} has no split {address.split or wanted!r}",
            found=", ".join(splits) or "no splits",
            todo=f"name one: {address.name}@{next(iter(splits), 'train')}",
        )
    return found


def _words(rows: slice) -> str:
    parts = [rows.start, rows.stop] if rows.step is None else [rows.start, rows.stop, rows.step]
    return "[" + ":".join("" if part is None else str(part) for part in parts) + "]"
