"""Bits by layer: within the budget, and the best there is where all can be tried."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.compress.bits import KINDS, chosen
from spikeloom.errors import ConfigError
from spikeloom.ir import grid_named

WIDTHS = [grid_named(kind).width for kind in KINDS]


def layers(costs: list[float]) -> dict[str, dict[str, float]]:
    """Errors that fall by 16 for every two bits, as they do."""
    return {
        f"layer{place}": {kind: cost * 4.0**-width for kind, width in zip(KINDS, WIDTHS, strict=True)} for place, cost in enumerate(costs)
    }


def test_kinds_are_in_order_of_their_bits() -> None:
    assert (KINDS, WIDTHS) == (("ternary", "4", "8"), [2, 4, 8])


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.floats(2, 8), st.integers(0, 100))
def test_the_budget_is_kept(costs: list[float], budget: float, seed: int) -> None:
    sizes = {f"layer{place}": 10 + (seed * (place + 3)) % 50 for place in range(len(costs))}
    kinds = chosen(layers(costs), sizes, budget)
    bits = sum(grid_named(kind).width * sizes[name] for name, kind in kinds.items())
    assert bits <= budget * sum(sizes.values()) + 1e-9


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=4), st.floats(2, 8))
def test_it_costs_little_more_than_the_best(costs: list[float], budget: float) -> None:
    table, sizes = layers(costs), {f"layer{place}": 10 for place in range(len(costs))}
    spent = lambda kinds: sum(table[name][kind] for name, kind in kinds.items())  # noqa: E731
    every = [dict(zip(table, kinds, strict=True)) for kinds in itertools.product(KINDS, repeat=len(costs))]
    allowed = [kinds for kinds in every if sum(grid_named(kind).width for kind in kinds.values()) <= budget * len(costs)]
    kinds = chosen(table, sizes, budget)
    left = budget * len(costs) - sum(grid_named(kind).width for kind in kinds.values())
    assert spent(kinds) <= min(map(spent, allowed)) + max(table[name][KINDS[0]] for name in table) * (left > 0)


def test_a_layer_that_matters_gets_the_bits() -> None:
    kinds = chosen(layers([1.0, 1000.0]), {"layer0": 10, "layer1": 10}, 5.0)
    assert kinds == {"layer0": "ternary", "layer1": "8"}


def test_too_few_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        chosen(layers([1.0]), {"layer0": 10}, 1.5)
