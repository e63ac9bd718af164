"""
Texts by address, as documents.

    text:<file>             UTF-8; divided at lines <|endoftext|> where there are any, else one document
    hf:<id or folder>       every row of the column `text` (parquet, saved by `datasets`, or on the hub) is a document;
                            hf:<id>#<configuration>
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from spikeloom.datasets.address import Address
from spikeloom.datasets.hub import load_hub, load_saved
from spikeloom.datasets.parquet import column_names, find_parquet, read_column
from spikeloom.errors import DataError

BETWEEN = "<|endoftext|>"
"""The line that stands between two documents of a file."""
COLUMN = "text"


@final
@dataclass(frozen=True)
class Documents:
    """Texts in order; `divided` says whether each is a text of its own, and not all of them one that goes on."""

    texts: tuple[str, ...]
    divided: bool


Opened = Mapping[str, Callable[[], Documents]]
"""The splits of a text by their own names; a split is read by calling its value."""


def open_documents(address: Address) -> Opened:
    """The splits an address leads to; one split where its text is not divided into several. DataError where it holds no text."""
    if address.scheme == "text":
        return {"all": partial(read_file, Path(address.place).expanduser())}
    if address.scheme == "hf":
        return _open_hf(address.place)
    way = address.text if Path(address.text).expanduser().is_file() else "<file>"
    raise DataError(
        "this model reads texts, and the data set holds none",
        found=address.text,
        allowed=f"text:<file>, or hf:<id or folder> with a column {COLUMN!r}",
        todo=f"give --dataset text:{way}",
    )


def read_file(path: Path) -> Documents:
    """The documents of a text file. DataError where it cannot be read, is not UTF-8, or holds nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start}"
        raise DataError(f"{path} is not UTF-8", found=found, todo=f"convert it: iconv -t UTF-8 {path} > new.txt") from error
    except OSError as error:
        raise DataError(f"the text {path} cannot be read", found=error.strerror, todo="give a text file: text:<file>") from error
    documents = divided(text)
    if not documents.texts:
        raise DataError(f"the text {path} is empty", found=f"{len(text)} characters", todo="give a file with a text in it")
    return documents


def divided(text: str) -> Documents:
    """A text divided at the lines `BETWEEN`; as it is where there are none. What holds no letter is no document."""
    parts: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.strip() == BETWEEN:
            parts.append([])
        else:
            parts[-1].append(line)
    if len(parts) == 1:
        return Documents((text,) if text.strip() else (), divided=False)
    found = ("".join(part).strip() for part in parts)
    return Documents(tuple(part for part in found if part), divided=True)


def _open_hf(place: str) -> Opened:
    folder = Path(place).expanduser()
    if not folder.is_dir():
        if place.startswith(("/", ".", "~")):
            raise DataError("there is no such data folder", found=folder)
        return {name: partial(_of_table, table, f"hf:{place}") for name, table in load_hub(place).items()}
    if files := find_parquet(folder):
        return {name: partial(_of_files, tuple(paths)) for name, paths in files.items()}
    return {name: partial(_of_table, table, f"hf:{place}") for name, table in load_saved(folder).items()}


def _of_files(paths: tuple[Path, ...]) -> Documents:
    texts: list[str] = []
    for path in paths:
        _check_column(column_names(path), str(path))
        texts += _texts(read_column(path, COLUMN).column(0).to_pylist(), str(path))
    return Documents(tuple(texts), divided=True)


def _of_table(table: Any, where: str) -> Documents:
    _check_column(table.column_names, where)
    return Documents(tuple(_texts(table.select_columns([COLUMN])[:][COLUMN], where)), divided=True)


def _check_column(names: list[str], where: str) -> None:
    if COLUMN not in names:
        raise DataError(f"{where} has no column of texts", found=", ".join(names), allowed=COLUMN)


def _texts(values: list[Any], where: str) -> list[str]:
    strange = next((value for value in values if value is not None and not isinstance(value, str)), None)
    if strange is not None:
        raise DataError(f"the column {COLUMN!r} of {where} holds no texts", found=type(strange).__name__)
    return [value for value in values if value and value.strip()]
