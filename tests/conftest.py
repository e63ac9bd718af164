"""
What every test runs under: offline, few threads, fixed seeds, and the way to the shared models and data.

The environment is set before anything imports torch or transformers. Shapes in annotations are executed: pyproject.toml
installs jaxtyping's import hook with beartype over `spikeloom`.
"""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "MPLBACKEND": "Agg",
    "TRITON_INTERPRET": "1",  # read when triton is first imported; tests of its compiler have processes of their own
}
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
sys.modules.setdefault("conftest", sys.modules[__name__])  # so that `from conftest import shared_data` finds this very module


def shared_data(name: str) -> Path:
    """
    The folder `name` of the shared models and data: ../shared/data beside the repository, or $SPIKELOOM_SHARED/data.

    Skips the test that asks, with the path that was looked for, where it is absent.
    """
    path = Path(os.environ.get("SPIKELOOM_SHARED", REPOSITORY.parent / "shared")) / "data" / name
    if not path.exists():
        pytest.skip(f"needs shared data that is not on this machine: {path} (SPIKELOOM_SHARED names the folder that holds data/)")
    return path


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared(name)` is the path of that shared model or data set; the test skips where it is absent."""
    return shared_data


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test starts from the same state of every global generator."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
