"""
Data sets by address: `load("cifar10", "test", preprocessing, data_root=…)`, then `batches(…)`.

The address form is described in `address`, which split serves for what in `splits`, pictures in `preprocessing`.
"""

from spikeloom.datasets.address import Address, parse_address
from spikeloom.datasets.batches import as_batches, batches
from spikeloom.datasets.dataset import Dataset
from spikeloom.datasets.loading import load
from spikeloom.datasets.opening import KNOWN
from spikeloom.datasets.preprocessing import Preprocessing, plain

__all__ = ["KNOWN", "Address", "Dataset", "Preprocessing", "as_batches", "batches", "load", "parse_address", "plain"]
