"""
Samples for models that no data set of labelled pictures comes with: pictures at a model's own size, and speech.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from harness.audio import mfcc, waveform
from harness.rows import SHARED
from spikeloom import datasets
from spikeloom.datasets import Preprocessing


def prepared(side: tuple[int, int], mean: float, std: float) -> Preprocessing:
    """Pictures squeezed to (height, width); pixels (0..255) less `mean`, over `std`."""
    return Preprocessing(side, (mean,) * 3, (std,) * 3, scale=1.0)


def from_address(address: str, how: Preprocessing) -> Float[Tensor, "n 3 h w"]:
    """All pictures an address means, in the data set's order."""
    data = datasets.load(address, "test", how, SHARED)
    return torch.cat([x for x, _ in datasets.batches(data, 64)])


def from_files(files: Iterable[Path], how: Preprocessing) -> Float[Tensor, "n 3 h w"]:
    """Picture files, in the order given."""
    return torch.stack([how.apply(Image.open(file).convert("RGB")) for file in files])


def speech(split: str) -> Float[Tensor, "n 1 49 10"]:
    """The features of a split of the spoken digits."""
    table = parquet.read_table(SHARED / "fsdd" / f"{split}-00000-of-00001.parquet", columns=["audio"])
    clips = [row["bytes"] for row in table.column("audio").to_pylist()]
    return torch.from_numpy(np.stack([mfcc(waveform(clip)) for clip in clips]))[:, None]
