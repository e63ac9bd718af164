"""Ingestion: what a source does not say of itself is told to it."""

from pathlib import Path

import pytest

from spikeloom.errors import SourceError
from spikeloom.ir import silent
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.settings import Settings

NETWORK = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_module_that_names_no_shape_is_captured_at_the_one_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NETWORK)
    source = f"py:{tmp_path / 'own.py'}:make"
    program = ingest(Settings(source=source, input_shape=(1, 8, 8)), tmp_path / "training", silent)
    assert program.inputs[0].sample == (1, 8, 8)
    with pytest.raises(SourceError, match="--input-shape"):
        ingest(Settings(source=source), tmp_path / "training", silent)


def test_a_module_that_is_trained_is_told_its_shape_too(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NETWORK)
    asked = Settings(source=f"py:{tmp_path / 'own.py'}:make", input_shape=(1, 8, 8), train=True, epochs=1, dataset="digits[:100]")
    assert ingest(asked, tmp_path / "training", silent).inputs[0].sample == (1, 8, 8)
