"""
What the ANN costs, counted on itself where the spiking network has another form than it: fewer channels, or gates in place of neurons.
"""

import torch
from torch import Tensor

from spikeloom.ir import Context, run
from spikeloom.plan import Fuse, Plan
from spikeloom.simulate import Counter, Counts, SpikingModel

RESHAPING = ("PruneChannels", "LogicGate")
"""Passes after which a network has other layers than its ANN."""


def ann_counts(snn: SpikingModel, inputs: tuple[Tensor, ...]) -> Counts | None:
    """Counts of the ANN, batch norm folded; None where those of the spiking network say the same, or the ANN is not there."""
    if snn.ann is None or not any(record.name in RESHAPING for record in snn.program.records):
        return None
    counter = Counter(run([Plan(), Fuse()], snn.ann, Context()), 1)
    with torch.no_grad():
        counter.add(inputs)
    return counter.counts()
