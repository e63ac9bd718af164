"""The frontier: chunks one by one, what is more than the limit on disk, and nothing kept that nobody reads."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, fx

from spikeloom.simulate.frontier import Frontier


def chain() -> tuple[fx.Graph, list[fx.Node]]:
    graph = fx.Graph()
    x = graph.placeholder("x")
    y = graph.call_function(torch.neg, (x,))
    z = graph.call_function(torch.add, (x, y))
    graph.output(z)
    return graph, [x, y, z]


def chunks(count: int = 3) -> list[Tensor]:
    return [torch.randn(8, 16, generator=torch.Generator().manual_seed(place)) for place in range(count)]


SIZE = 8 * 16 * 4


@pytest.mark.parametrize("limit", [0, SIZE, 2 * SIZE, 10 * SIZE])
def test_values_are_the_same_wherever_they_wait(limit: int, tmp_path: Path) -> None:
    graph, (x, y, z) = chain()
    frontier = Frontier(graph, limit, tmp_path)
    frontier.put(x, chunks())
    frontier.put(y, frontier.call(y, torch.neg))
    frontier.put(z, frontier.call(z, torch.add))
    assert frontier.held_bytes <= limit
    assert frontier.held_bytes == min(limit, 9 * SIZE) // SIZE * SIZE
    assert all(torch.equal(chunk, torch.zeros(8, 16)) for chunk in frontier.values[z])
    assert all(torch.equal(chunk, given) for chunk, given in zip(frontier.values[x], chunks(), strict=True))
    assert not list(tmp_path.iterdir())


def test_what_nobody_reads_any_more_is_forgotten() -> None:
    graph, (x, y, z) = chain()
    frontier = Frontier(graph, 100 * SIZE)
    frontier.put(x, chunks())
    frontier.put(y, frontier.call(y, torch.neg))
    frontier.drop_before(y)
    assert x in frontier.values  # z reads it too
    frontier.put(z, frontier.call(z, torch.add))
    frontier.drop_before(z)
    assert set(frontier.values) == {z}
    assert frontier.held_bytes == 3 * SIZE


def test_views_of_one_value_count_once() -> None:
    graph, (x, y, _) = chain()
    frontier, given = Frontier(graph, 100 * SIZE), chunks()
    frontier.put(x, given)
    frontier.put(y, (chunk.t() for chunk in given))
    assert frontier.held_bytes == 3 * SIZE
    frontier.put(y, [torch.zeros(1)])  # put anew: the old ones are let go of
    assert frontier.held_bytes == 3 * SIZE + 4


def test_chunks_are_made_when_they_are_asked_for() -> None:
    graph, (x, y, _) = chain()
    frontier, made = Frontier(graph, 0), list[int]()
    frontier.put(x, chunks())

    def noted(value: Tensor) -> Tensor:
        made.append(1)
        return -value

    calls = frontier.call(y, noted)
    assert not made
    next(iter(calls))
    assert len(made) == 1
