"""
IDX files, the format of MNIST and its kin: a folder of `<split>-images-idx3-ubyte` and `<split>-labels-idx1-ubyte`, plain or .gz.

A file is two zero bytes, a type byte (8: unsigned bytes), the number of dimensions, each dimension as a big-endian 32-bit number, and the
bytes. Source: LeCun, Cortes, Burges, The MNIST database.
"""

import gzip
import math
import re
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spikeloom.datasets.source import ArraySource, Splits, as_labels
from spikeloom.errors import DataError

_IMAGES = re.compile(r"^(?P<split>[A-Za-z0-9]+)-images[-.]idx3-ubyte(\.gz)?$")


def decode_idx(data: bytes, where: str) -> UInt8[np.ndarray, "..."]:
    """The array an IDX file of unsigned bytes holds. DataError where the header or the length is wrong."""
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{where} is not an IDX file of unsigned bytes", found=data[:4].hex(" "), allowed="00 00 08 and the dimensions")
    start = 4 + 4 * data[3]
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise DataError(
            f"{where} is truncated or has bytes to spare", found=f"{len(data) - start} bytes", allowed=f"{math.prod(shape)} for {shape}"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array in an IDX file, plain or gzip. DataError where it cannot be read."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read", found=error, todo="fetch the file again") from error
    return decode_idx(data, str(path))


def find_idx(folder: Path) -> dict[str, Path]:
    """The picture file of every split in a folder, by the split's name."""
    found = ((match["split"], path) for path in sorted(folder.iterdir()) if (match := _IMAGES.match(path.name)))
    return dict(found)


def open_idx(folder: Path) -> Splits:
    """The splits of a folder of IDX files. DataError where it holds none."""
    if not folder.is_dir():
        raise DataError("there is no such folder of IDX files", found=folder)
    images = find_idx(folder)
    if not images:
        raise DataError(
            f"{folder} holds no IDX pictures",
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder",
            allowed="train-images-idx3-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and the labels beside them",
        )
    return {split: partial(_open, path) for split, path in images.items()}


def _open(images: Path) -> ArraySource:
    stem = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    labels = next((path for path in (images.with_name(stem), images.with_name(f"{stem}.gz")) if path.is_file()), None)
    if labels is None:
        raise DataError(f"the labels of {images} are missing", found=f"no {stem}[.gz] beside it")
    pictures = read_idx(images)
    if pictures.ndim != 3:
        raise DataError(f"{images} does not hold pictures", found=f"shape {pictures.shape}", allowed="[n, height, width]")
    return ArraySource(pictures, as_labels(read_idx(labels), len(pictures), str(labels)))
