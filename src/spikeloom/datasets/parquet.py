"""
Parquet files of pictures, as the Hugging Face hub keeps them: a column of {bytes, path} and a column of class numbers.

A file's split is what its name begins with (`train-00000-of-00002.parquet`, `dev500-…` is dev), else the folder it lies in. Labels are
read at once; the pictures' bytes come a row group at a time and are dropped again beyond HELD_BYTES. No network.
"""

import json
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from spikeloom.datasets.optional import require
from spikeloom.datasets.pictures import decode_picture
from spikeloom.datasets.source import Labels, Splits, as_labels
from spikeloom.errors import DataError

HELD_BYTES = 256 * 2**20
"""How many bytes of undecoded pictures are kept in memory."""

_LABELS = ("label", "labels", "fine_label", "class", "target")
_IMAGES = ("image", "img", "images", "picture")


@final
@dataclass(frozen=True)
class Columns:
    """Which columns hold the pictures and the labels, and what the classes are called."""

    image: str
    label: str
    classes: tuple[str, ...] | None


@final
@dataclass(frozen=True)
class ParquetSource:
    """The pictures of one split, over files and row groups."""

    groups: tuple[tuple[Path, int], ...]
    ends: np.ndarray[Any, np.dtype[np.int64]]
    labels: Labels
    columns: Columns
    held: OrderedDict[int, Any] = field(default_factory=OrderedDict[int, Any], repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names in the files' Hugging Face metadata."""
        return self.columns.classes

    def picture(self, row: int) -> Image.Image:
        """The decoded picture. DataError where there are no bytes or they cannot be decoded."""
        group = int(np.searchsorted(self.ends, row, side="right"))
        start = int(self.ends[group - 1]) if group else 0
        cell = self._bytes(group)[row - start].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        where = f"{row} of {self.groups[group][0]}"
        if not isinstance(data, bytes):
            raise DataError(f"the picture {where} holds no bytes", found=cell, allowed="pictures embedded in the parquet file")
        return decode_picture(data, where)

    def _bytes(self, group: int) -> Any:
        """The picture column of a row group; the least recently used ones make room."""
        if group not in self.held:
            path, number = self.groups[group]
            self.held[group] = read_column(path, self.columns.image, number).column(0)
            while len(self.held) > 1 and sum(column.nbytes for column in self.held.values()) > HELD_BYTES:
                self.held.popitem(last=False)
        self.held.move_to_end(group)
        return self.held[group]


def split_of(path: Path) -> str:
    """The split a parquet file belongs to: the letters its name begins with, else its folder's name."""
    match = re.match(r"[A-Za-z_]+", path.name)
    return match[0].strip("_").lower() if match else path.parent.name.lower()


def find_parquet(folder: Path) -> dict[str, list[Path]]:
    """The parquet files below a folder by split, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        found.setdefault(split_of(path), []).append(path)
    return found


def open_parquet(folder: Path) -> Splits:
    """The splits of the parquet files below a folder. DataError where there are none; ResourceError where pyarrow is missing."""
    files = find_parquet(folder)
    if not files:
        raise DataError(f"{folder} holds no parquet files", allowed="<split>-….parquet with columns image and label")
    return {split: partial(_open, tuple(paths)) for split, paths in files.items()}


def columns_of(schema: Any, where: str) -> Columns:
    """The picture and the label column of an arrow schema, by its Hugging Face features, else by name. DataError where one is missing."""
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    features: dict[str, Any] = json.loads(raw).get("info", {}).get("features", {})
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    image = _first(schema.names, [name for name, kind in kinds.items() if kind == "Image"], _IMAGES)
    label = _first(schema.names, [name for name, kind in kinds.items() if kind == "ClassLabel"], _LABELS)
    if image is None or label is None or (image in kinds and kinds[image] != "Image"):
        raise DataError(
            f"{where} has no column of {'labels' if image else 'pictures'}",
            found=", ".join(f"{name}: {kinds.get(name) or schema.field(name).type}" for name in schema.names),
            allowed=f"pictures in {', '.join(_IMAGES)}; labels in {', '.join(_LABELS)}",
        )
    names = features.get(label, {}).get("names")
    return Columns(image, label, tuple(names) if names else None)


def _first(present: list[str], declared: list[str], usual: tuple[str, ...]) -> str | None:
    """The first declared column that is a usual one, else the first declared, else the first usual one that is present."""
    usually = [name for name in usual if name in (declared or present)]
    return next(iter([*usually, *declared]), None)


def column_names(path: Path) -> list[str]:
    """The columns of a parquet file. DataError where it is none."""
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        return list(parquet.ParquetFile(path).schema_arrow.names)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path} is not a parquet file", found=error, todo="fetch the file again") from error


def read_column(path: Path, column: str, group: int | None = None) -> Any:
    """One column of a parquet file or of one of its row groups. DataError where the file cannot be read."""
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        file = parquet.ParquetFile(path, memory_map=True)
        return file.read([column]) if group is None else file.read_row_group(group, [column])
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read", found=error, todo="fetch the file again") from error


def _open(paths: tuple[Path, ...]) -> ParquetSource:
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    groups: list[tuple[Path, int]] = []
    rows: list[int] = []
    labels: list[Labels] = []
    columns: Columns | None = None
    for path in paths:
        try:
            file = parquet.ParquetFile(path)
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{path} is not a parquet file", found=error, todo="fetch the file again") from error
        columns = columns or columns_of(file.schema_arrow, str(path))
        groups += [(path, number) for number in range(file.num_row_groups)]
        rows += [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        labels.append(_labels(path, columns.label, file.metadata.num_rows))
    if columns is None:
        raise DataError("there are no parquet files to open")
    return ParquetSource(tuple(groups), np.cumsum(rows), np.concatenate(labels), columns)


def _labels(path: Path, column: str, rows: int) -> Labels:
    """The label column; -1 where a row has none."""
    values = read_column(path, column).column(0).to_numpy()
    if np.issubdtype(values.dtype, np.floating):  # so pyarrow gives whole numbers of which some are null
        values = np.where(np.isnan(values), -1, values)
    return as_labels(values, rows, f"{path}: {column}")
