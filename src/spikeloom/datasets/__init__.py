"""
Data sets by address: `load("cifar10", "test", preprocessing, data_root=…)`, then `batches(…)`; texts by `load_text("text:<file>", …)`.

The address form is described in `address`, which split serves for what in `splits`, pictures in `preprocessing`, texts in `text`.
"""

from spikeloom.datasets.address import Address, parse_address
from spikeloom.datasets.batches import as_batches, batches
from spikeloom.datasets.dataset import Dataset
from spikeloom.datasets.events import Recordings, frames, read_events, write_events
from spikeloom.datasets.loading import load
from spikeloom.datasets.opening import KNOWN
from spikeloom.datasets.preprocessing import Preprocessing, plain
from spikeloom.datasets.prototypes import Prototypes, matched_filter
from spikeloom.datasets.reading import Reading
from spikeloom.datasets.text import Text, load_text
from spikeloom.datasets.tokenizer import encoded
from spikeloom.datasets.tokens import holds_tokens, token_batches

__all__ = [
    "KNOWN",
    "Address",
    "Dataset",
    "Preprocessing",
    "Prototypes",
    "Reading",
    "Recordings",
    "Text",
    "as_batches",
    "batches",
    "encoded",
    "frames",
    "holds_tokens",
    "load",
    "load_text",
    "matched_filter",
    "parse_address",
    "plain",
    "read_events",
    "token_batches",
    "write_events",
]
