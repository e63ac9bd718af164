"""A policy on named bits as exact Boolean rules."""

import itertools

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("pyeda", reason="needs spikeloom[logic]")
pytest.importorskip("pysat", reason="needs spikeloom[logic]")

from spikeloom.agent.rules import Gated, Lesson, Names, exact, predicates_of, rules_from, taught
from spikeloom.agent.rules.boolean import bit_columns, bits_of
from spikeloom.errors import ConfigError, DataError
from spikeloom.logic import PackedNetwork, compared, freeze, fully_connected

NAMES = Names(("a", "b", "c"), ("left", "stay", "right"))
FEATURES = predicates_of({"up": "a > 0", "sum": "a + b", "far": "abs(c) > 1", "leans": "sum > 0.5", "falls": "b < c"}, NAMES)
SEEN = np.random.default_rng(0).normal(size=(4000, 3)) * 1.5


def policy(x: np.ndarray) -> np.ndarray:
    up, leans = x[:, 0] > 0, x[:, 0] + x[:, 1] > 0.5
    return np.where(leans & up, 2, np.where(abs(x[:, 2]) > 1, 0, 1)).astype(np.int64)


@pytest.fixture(scope="module")
def gated() -> Gated:
    return taught(FEATURES, SEEN, policy(SEEN), Lesson(hidden=(12,), steps=200, rate=0.02))


def test_a_gate_network_learns_the_policy_and_its_rules_are_it_on_every_input(gated: Gated) -> None:
    found = gated
    assert found.bits == ("up", "far", "leans", "falls")
    assert found.verdict.equal
    assert (found.verdict.way, found.verdict.tried) == ("exhaustive", 16)
    assert compared(found.program, found.equations, "sat").equal
    assert (found.rules(SEEN) == policy(SEEN)).mean() > 0.97
    network = PackedNetwork(found.program)
    assert (found.rules(SEEN) == network(torch.from_numpy(bit_columns(FEATURES, SEEN)).float()).argmax(1).numpy()).all()


def test_every_action_of_every_input_is_the_networks() -> None:
    features = predicates_of({f"bit{n}": f"{name} > 0" for n, name in enumerate("abc")}, NAMES)
    for seed in range(4):
        torch.manual_seed(seed)
        network = fully_connected(3, (7,), 3).train()
        for _ in range(20):
            network(torch.rand(64, 3).round())
        found = exact(freeze(network, torch.zeros(2, 3)), features)
        every = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
        due = PackedNetwork(found.program)(torch.from_numpy(every > 0).float()).argmax(1).numpy()
        assert found.rules(every).tolist() == due.tolist()
        assert rules_from(yaml.safe_dump(found.rules.as_data())) == found.rules


def test_rules_read_as_sums_of_products_over_the_names(gated: Gated) -> None:
    found = gated.rules
    text = found.text()
    assert "up" in text
    assert "leans" in text
    assert "where leans = sum > 0.5" in text
    assert {name for rule in found.rules for name in rule.when.reads} <= {"up", "far", "leans", "falls"}


def test_bits_and_actions_must_fit() -> None:
    with pytest.raises(ConfigError, match="a gate network reads truths"):
        bits_of(predicates_of({"sum": "a + b"}, NAMES))
    with pytest.raises(ConfigError, match="13 of them"):
        bits_of(predicates_of({f"p{n}": "a > 0" for n in range(13)}, NAMES))
    with pytest.raises(DataError, match="one action for each observation"):
        taught(FEATURES, SEEN, policy(SEEN)[:5])
    other = fully_connected(3, (4,), 2).train()
    other(torch.rand(32, 3).round())
    with pytest.raises(DataError, match=r"found: 3 inputs, 2 classes\n  allowed: 4 and 3"):
        exact(freeze(other, torch.zeros(2, 3)), FEATURES)
    with pytest.raises(ConfigError, match="cannot be taught so"):
        Lesson(hidden=(0,))
