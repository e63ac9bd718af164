"""
What the ANN costs, counted on itself where the spiking network has another form than it: fewer channels, or gates in place of neurons.
"""

import dataclasses

from torch import Tensor

from spikeloom.ir import Program, name_of
from spikeloom.simulate.events import Counter, Counts

RESHAPING = ("PruneChannels", "LogicGate")
"""Passes after which a network has other layers than its ANN."""


def beside_ann(counts: Counts, snn: Program, ann: Program | None, inputs: tuple[Tensor, ...]) -> Counts:
    """The counts of a spiking network with those of its ANN, counted on inputs [B, …]; as they are where its own layers say the same, or
    the ANN is not there. Batch norm costs the ANN nothing: it can be folded."""
    if ann is None or not any(record.name in RESHAPING for record in snn.records):
        return counts
    counter = Counter(ann, 1)
    counter.add(inputs)
    norms = {name for name, node in counter.before.items() if name_of(node.target).startswith("aten.batch_norm.")}
    found = counter.counts()
    return dataclasses.replace(counts, ann=dataclasses.replace(found, rows=tuple(row for row in found.rows if row.node not in norms)))
