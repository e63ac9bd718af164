"""
A data set as models take it: rows of a source, prepared.

Small pictures are kept, once decoded and resized, as 8-bit arrays, so that a second pass costs no decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from spikeloom.datasets.preprocessing import Preprocessing
from spikeloom.datasets.source import Labels, Source
from spikeloom.errors import DataError

KEPT_SIDE = 64
"""Pictures of at most this height and width are kept decoded …"""
KEPT_BYTES = 512 * 2**20
"""… up to this many bytes in all."""


@final
@dataclass(eq=False)
class Dataset(TorchDataset[tuple[Tensor, int]]):
    """
    Labelled samples: `dataset[i]` is a float32 tensor and a class number, `gather(rows)` many of them at once.

    `rows` are the rows of `source` in our order. `preprocessing` None hands float arrays on as they are. `note` says in words what was
    chosen beyond the ordinary when the set was loaded ("" otherwise).
    """

    source: Source
    rows: Int64[np.ndarray, " n"]
    preprocessing: Preprocessing | None
    name: str
    split: str
    note: str = ""
    kept: dict[int, NDArray[Any]] = field(default_factory=dict[int, NDArray[Any]], repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples; there is no sample {index}")
        x, y = self.gather([index])
        return x[0], int(y[0])

    @property
    def labels(self) -> Labels:
        """The class number of every sample, int64 [n], without decoding a picture."""
        return self.source.labels[self.rows]

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes; None where the data set has none."""
        return None if self.source.classes is None else list(self.source.classes)

    @property
    def num_classes(self) -> int:
        """How many classes there are: named ones, else one more than the largest label of the split."""
        return len(self.source.classes) if self.source.classes is not None else int(self.source.labels.max(initial=-1)) + 1

    def gather(self, indices: Sequence[int] | Tensor) -> tuple[Float[Tensor, "b ..."], Int64[Tensor, " b"]]:
        """The samples at these places, stacked, and their labels. DataError where they differ in shape."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        pixels = [self._pixels(int(row)) for row in rows]
        shapes = {array.shape for array in pixels}
        if len(shapes) > 1:
            raise DataError(f"pictures of {self.name} differ in size", found=sorted(shapes), todo="set preprocessing.size")
        return self._tensor(np.stack(pixels)), torch.from_numpy(self.source.labels[rows])

    def _tensor(self, pixels: NDArray[Any]) -> Tensor:
        if self.preprocessing is None:
            return torch.from_numpy(pixels).to(torch.float32)
        return self.preprocessing.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    def _pixels(self, row: int) -> NDArray[Any]:
        """The prepared picture of a source's row; kept where it is small."""
        if row in self.kept:
            return self.kept[row]
        picture = self.source.picture(row)
        pixels = np.asarray(picture) if self.preprocessing is None else self.preprocessing.prepare(picture)
        if pixels.dtype == np.uint8 and max(pixels.shape[:2]) <= KEPT_SIDE and (len(self.kept) + 1) * pixels.nbytes <= KEPT_BYTES:
            self.kept[row] = pixels
        return pixels
