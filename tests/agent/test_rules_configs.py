"""The files of configs/rules can be read, and hold no more than eight predicates."""

from pathlib import Path

import pytest

from spikeloom.agent.rules import load_features, load_guards

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "rules"


@pytest.mark.parametrize("file", sorted(path.name for path in (FOLDER / "predicates").glob("*.yaml")))
def test_predicates(file: str) -> None:
    features = load_features(FOLDER / "predicates" / file)
    assert 0 < len(features.predicates) <= 9
    bits = [each.kind == "truth" for each in features.predicates.values()]
    assert sum(bits) == 8 if file.endswith("_bits.yaml") else len(bits) <= 8


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_guards(file: str) -> None:
    assert load_guards(FOLDER / file).constraints
