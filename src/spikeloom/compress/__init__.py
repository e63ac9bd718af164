"""Compression: weights on integer grids, connections taken away, what is lost made good to second order (floor 4)."""

from spikeloom.compress.prune import BUDGETS, PruneMagnitude, PruneSpikes, prunable
from spikeloom.compress.quantise import Quantise, Round, bits_kept, layer_rows, quantised_layers
from spikeloom.compress.rounding import settled
from spikeloom.compress.second_order import Allowed, settle
from spikeloom.compress.structured import CHANNEL_BUDGETS, PruneChannels
from spikeloom.compress.worth import WORTHS

__all__ = [
    "BUDGETS",
    "CHANNEL_BUDGETS",
    "WORTHS",
    "Allowed",
    "PruneChannels",
    "PruneMagnitude",
    "PruneSpikes",
    "Quantise",
    "Round",
    "bits_kept",
    "layer_rows",
    "prunable",
    "quantised_layers",
    "settle",
    "settled",
]
