"""
Data sets of the Hugging Face hub, and folders that its library saved, through the library `datasets`.
"""

import errno
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeloom.datasets.optional import require
from spikeloom.datasets.parquet import columns_of
from spikeloom.datasets.source import Labels, Splits, as_labels
from spikeloom.errors import DataError, ResourceError

_CONFIGURATIONS = re.compile(r"[Aa]vailable(?: configs)?: \[([^\]]+)\]")
"""How the library lists them where none is named, or one that there is not."""


@final
@dataclass(frozen=True)
class HubSource:
    """One split of a data set that the library `datasets` holds."""

    table: Any
    image: str
    labels: Labels
    classes: tuple[str, ...] | None

    def picture(self, row: int) -> Image.Image | NDArray[Any]:
        """The picture as the library decodes it. DataError where it cannot."""
        try:
            found = self.table[row][self.image]
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"picture {row} cannot be decoded", found=error) from error
        return np.asarray(found) if isinstance(found, list) else found


def open_hub(name: str) -> Splits:
    """The splits of pictures of a hub id, or of one of its configurations. Errors as `load_hub`."""
    return _splits(load_hub(name), name)


def load_hub(name: str) -> Mapping[str, Any]:
    """The tables of `<hub id>` or `<hub id>#<configuration>` by split, fetched or from the library's cache. DataError says why where they
    cannot be had, and which configurations there are where one must be named; ResourceError: no library."""
    library = require("datasets")
    hub_id, _, configuration = name.partition("#")
    cached = Path(library.config.HF_DATASETS_CACHE) / hub_id.replace("/", "___")
    if not cached.is_dir() and (reason := unreachable(library.config.HF_ENDPOINT)) is not None:
        raise _unavailable(name, reason)
    try:
        return _tables(library.load_dataset(hub_id, configuration or None))
    except Exception as error:  # the library raises whatever its many back ends raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"the disk is full; hf:{name} cannot be kept", found=error, todo="free space or set HF_HOME") from error
        if (known := _CONFIGURATIONS.search(str(error))) is not None:
            raise _several(name, hub_id, [part.strip(" '\"") for part in known[1].split(",")]) from error
        raise _unavailable(name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from error


def unreachable(endpoint: str) -> str | None:
    """Why a host cannot be reached, where its name does not resolve and no proxy stands between (else the library retries for 24 s)."""
    host = urlsplit(endpoint).hostname or endpoint
    if getproxies().get("https"):
        return None
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        return f"no network: {host}: {error}"
    return None


def _unavailable(name: str, reason: str) -> DataError:
    return DataError(
        f"the data set {name!r} cannot be had from the Hugging Face hub",
        found=reason,
        todo="check the id and the network, or give a folder: hf:<folder>",
    )


def _several(name: str, hub_id: str, known: list[str]) -> DataError:
    _, named, configuration = name.partition("#")
    return DataError(
        f"the data set {hub_id!r} has several configurations" if not named else f"the data set {hub_id!r} has no such configuration",
        found=configuration if named else "none is named",
        allowed=", ".join(known),
        todo=f"name one: hf:{hub_id}#{known[0]}",
    )


def open_saved(folder: Path) -> Splits:
    """The splits of pictures in a folder that `datasets` saved with save_to_disk. DataError where it cannot be read."""
    return _splits(load_saved(folder), str(folder))


def load_saved(folder: Path) -> Mapping[str, Any]:
    """The tables of a folder that `datasets` saved with save_to_disk, by split. DataError where it cannot be read."""
    library = require("datasets")
    try:
        return _tables(library.load_from_disk(str(folder)))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} cannot be read as a saved data set", found=error) from error


def _tables(loaded: Any) -> Mapping[str, Any]:
    return dict(loaded) if isinstance(loaded, Mapping) else {"all": loaded}


def _splits(tables: Mapping[str, Any], name: str) -> Splits:
    return {split: partial(_open, table, f"hf:{name}") for split, table in tables.items()}


def _open(table: Any, where: str) -> HubSource:
    columns = columns_of(table.features.arrow_schema, where)
    labels = [-1 if label is None else label for label in table.select_columns([columns.label])[:][columns.label]]
    return HubSource(table, columns.image, as_labels(np.asarray(labels), len(table), where), columns.classes)
