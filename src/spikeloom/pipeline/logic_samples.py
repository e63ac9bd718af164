"""
Samples as logic-gated networks take them: values from 0 to 1, or bits, held in memory as they are trained on again and again.
"""

import dataclasses
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from spikeloom import datasets
from spikeloom.datasets import Dataset, Prototypes, parse_address
from spikeloom.datasets.splits import Wanted
from spikeloom.errors import DataError
from spikeloom.pipeline.overlap import check_apart
from spikeloom.pipeline.pictures import preprocessing_of

AT_ONCE = 1024
PART = 5 / 6
"""What part of a set of one split is learnt from: of MNIST's training set 50,000."""
PIXEL = 1 / 255
HALF = 0.5
"""A value from here on is the bit 1."""


@final
class HeldSamples:
    """A data set that training and measuring can gather from: x is `table[places]`, times `scale`; `cut` where values between 0 and 1
    were made bits."""

    def __init__(
        self, table: Tensor, places: Int64[Tensor, " n"], labels: Int64[Tensor, " n"], classes: int, scale: float, cut: bool = False
    ) -> None:
        self.table, self.places, self.labels, self.classes, self.scale, self.cut = table, places, labels, classes, scale, cut

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, y = self.gather(torch.tensor([index]))
        return x[0], int(y[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.table.shape[1:])

    def gather(self, indices: Int64[Tensor, " b"]) -> tuple[Float[Tensor, "b *rest"], Int64[Tensor, " b"]]:
        """The samples at these places, float32, and their labels."""
        return self.table[self.places[indices]].to(torch.float32) * self.scale, self.labels[indices]


@final
@dataclasses.dataclass(frozen=True)
class LogicData:
    """What a network learns and what it is measured on; `patterns` [K, D] where the data are prototypes; `facts` of how they were read."""

    train: HeldSamples
    test: HeldSamples
    patterns: Float[Tensor, "k d"] | None
    facts: dict[str, object]
    note: str


def read(
    address: str,
    *,
    as_bits: bool,
    test: str | None = None,
    data_root: Path | None = None,
    preprocessing: dict[str, object] | None = None,
    samples: int | None = None,
) -> LogicData:
    """What an address has to learn from and, there or at the address `test`, to be measured on, `samples` of that at most. A set of one
    split is parted: its first PART are learnt from. DataError where values lie outside 0 to 1, or what is measured was learnt from.
    """

    def opened(place: str, split: Wanted, limit: int | None) -> Dataset:
        if not preprocessing:
            return datasets.load(place, split, None, data_root, limit=limit)
        plain = datasets.load(place, split, None, data_root, limit=1).preprocessing
        told = preprocessing if plain is None else {"channels": plain.channels, **preprocessing}
        return datasets.load(place, split, preprocessing_of({}, told), data_root, limit=limit)

    places = parted(address, data_root) if test is None else (address, test)
    train, tested = opened(places[0], "train", None), opened(places[1], "test", samples)
    todo = f"name others: --test-dataset '{tested.name}[50000:]' or so, beside --dataset '{train.name}[:50000]'"
    check_apart(train, tested, todo)
    learnt, measured = held(train, as_bits), held(tested, as_bits)
    if learnt.shape != measured.shape:
        found = f"{learnt.shape} and {measured.shape}"
        raise DataError("training and test samples differ in shape", found=found, todo="set preprocessing.size")
    if int(learnt.labels.max()) >= measured.classes or int(measured.labels.max()) >= learnt.classes:
        raise DataError("training and test samples differ in classes", found=f"{learnt.classes} and {measured.classes}")
    way = train.preprocessing
    facts: dict[str, object] = {
        "dataset": places[1],
        "classes": learnt.classes,
        "input_shape": list(learnt.shape),
        "preprocessing": None if way is None else _listed(way),
        "bits_at": HALF if as_bits else None,
        "cut": learnt.cut or measured.cut,
    }
    patterns = torch.from_numpy(train.source.patterns) if isinstance(train.source, Prototypes) else None
    cut = f"values were cut to bits, 1 from {HALF:g} on" if facts["cut"] else None
    return LogicData(learnt, measured, patterns, facts, "; ".join(filter(None, (train.note, tested.note, cut))))


def parted(address: str, data_root: Path | None) -> tuple[str, str]:
    """Where to learn from and where to measure: of a set of one split, whose address says no more, its first PART and the rest."""
    said, splits = parse_address(address), {datasets.load(address, split, None, data_root, limit=1).split for split in ("train", "test")}
    if len(splits) > 1 or said.rows is not None or said.split is not None:
        return address, address
    (only,) = splits
    whole = f"{said.name}@{only}"
    first = int(PART * len(datasets.load(whole, "train", None, data_root)))
    return f"{whole}[:{first}]", f"{whole}[{first}:]"


def _listed(way: datasets.Preprocessing) -> dict[str, object]:
    told = dataclasses.asdict(way).items()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told}


def held(data: Dataset, as_bits: bool) -> HeldSamples:
    """The samples of a data set, all of them decoded; in a byte a value where that says it all. DataError outside 0 to 1."""
    labels = torch.from_numpy(data.labels.copy())
    if int(labels.min()) < 0:
        raise DataError(f"{data.name} has samples without a label", found=data.split, todo="name another split, as in name@train")
    if isinstance(data.source, Prototypes):
        return HeldSamples(torch.from_numpy(data.source.patterns).to(torch.uint8), labels, labels, data.num_classes, 1.0)
    parts, cut = list[Tensor](), False
    for rows in torch.arange(len(data)).split(AT_ONCE):
        x, _ = data.gather(rows)
        low, high = x.amin(), x.amax()
        if not bool((low >= 0) & (high <= 1)):
            todo = "scale them (preprocessing.scale), and leave preprocessing.mean and std out"
            raise DataError(f"{data.name} has values outside 0 to 1", found=f"{float(low):.4g} to {float(high):.4g}", todo=todo)
        cut = cut or (as_bits and not bool(((x == 0) | (x == 1)).all()))
        parts.append((x >= HALF).to(torch.uint8) if as_bits else narrow(x))
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise DataError(f"pictures of {data.name} differ in size", found=sorted(shapes), todo="set preprocessing.size")
    bytes_hold_all = all(part.dtype is torch.uint8 for part in parts)
    if not bytes_hold_all:
        parts = [part * PIXEL if part.dtype is torch.uint8 else part for part in parts]
    scale = PIXEL if bytes_hold_all and not as_bits else 1.0
    return HeldSamples(torch.cat(parts), torch.arange(len(data)), labels, data.num_classes, scale, cut)


def narrow(x: Tensor) -> Tensor:
    """Values as 8-bit pixels where those hold them exactly, else as they are."""
    pixels = torch.round(x * 255).to(torch.uint8)
    return pixels if torch.equal(pixels * PIXEL, x) else x
