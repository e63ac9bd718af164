"""
Blocks: a graph cut where few values cross, so that each part can be calibrated by itself, on what it really gets, towards what it should
give. A residual block is one; so is half a layer of a transformer.

Source: block-wise reconstruction, Li et al. 2021, arXiv:2102.05426 (BRECQ).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import fx

from spikeloom.ir import OPERATIONS, dynamic, weighted

MOST = 8
"""Layers with weights after which a block ends wherever fewest values cross."""


@final
@dataclass(frozen=True)
class Block:
    """Nodes in execution order, and those whose values go on to later ones."""

    nodes: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


def blocks(graph: fx.Graph, most: int = MOST) -> list[Block]:
    """The blocks of a graph in order, each with a layer with weights and a population where there are any left."""
    nodes = [node for node in graph.nodes if node.op != "output"]
    crossing = crossings(graph, nodes)
    found: list[Block] = []
    start, after = 0, 0
    while start < len(nodes):
        after = _end(nodes, crossing, start, most)
        own = set(nodes[start:after])
        found.append(Block(tuple(nodes[start:after]), tuple(node for node in crossing[after - 1] if node in own)))
        start = after
    return found


def crossings(graph: fx.Graph, nodes: Sequence[fx.Node]) -> list[list[fx.Node]]:
    """After each node, the values that depend on the content of the inputs and are read later, the program's outputs among them."""
    live, place = dynamic(graph), {node: place for place, node in enumerate(nodes)}
    last = {node: max((place.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes}
    moving = [node for node in nodes if node in live and node.op != "placeholder"]
    held: list[list[fx.Node]] = [[] for _ in nodes]
    for node in moving:
        for at in range(place[node], min(last[node], len(nodes))):
            held[at].append(node)
    return held


def _end(nodes: Sequence[fx.Node], crossing: Sequence[Sequence[fx.Node]], start: int, most: int) -> int:
    """The end of the block that begins at `start`, one past its last node; the rest goes along where no block would be left of it."""
    layers, populations, narrowest = 0, 0, start
    for place in range(start, len(nodes)):
        layers += weighted(nodes[place])
        populations += nodes[place].target in OPERATIONS.values()
        if not layers or not populations:
            narrowest = place + 1
            continue
        fires_next = place + 1 < len(nodes) and nodes[place + 1].target in OPERATIONS.values()
        more = any(weighted(node) for node in nodes[place + 1 :])
        if len(crossing[place]) == 1 and not fires_next and more:
            return place + 1
        if len(crossing[place]) <= len(crossing[narrowest - 1]):
            narrowest = place + 1
        if layers > most and more:
            return narrowest
    return len(nodes)
