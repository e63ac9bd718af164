"""What the tests of the pipeline share: a data set of bright quarters that is learnt in a second, and conversions of it."""

from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.pipeline import Settings

CLASSES = 4


def quarters(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8x8 pictures with one brighter quarter, and which: uint8 [n, 8, 8], int64 [n]."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pictures = generator.integers(0, 120, (count, 8, 8))
    for picture, label in zip(pictures, labels, strict=True):
        picture[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 90
    return pictures.astype(np.uint8), labels.astype(np.int64)


def data(folder: Path, **changed: np.ndarray) -> str:
    """The address of that data set, written to `folder`; single arrays may be given."""
    (x_train, y_train), (x_test, y_test) = quarters(256, 0), quarters(64, 1)
    path = folder / "quarters.npz"
    np.savez(path, **{"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changed})
    return f"npz:{path}"


def settings(folder: Path, **changed: Any) -> Settings:
    """A conversion of the digits CNN, trained on the quarters, into `folder`/out; a second or two."""
    usual: dict[str, Any] = {
        "dataset": data(folder) if "dataset" not in changed else None,
        "output_dir": folder / "out",
        "train": True,
        "epochs": 6,
        "timesteps": 2,
        "levels": 7,
        "calibration_samples": 64,
        "batch_size": 16,
    }
    return Settings(**{**usual, **changed})
