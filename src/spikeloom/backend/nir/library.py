"""
The library `nir`, loaded where it is needed.
"""

import importlib
from typing import Any

from spikeloom.errors import ResourceError


def nir() -> Any:
    """The module `nir`. Raises ResourceError where it is not installed."""
    try:
        return importlib.import_module("nir")
    except ImportError as error:
        raise ResourceError(
            "NIR files need the library nir", found=str(error), todo="pip install 'spikeloom[nir]' (nir 1.0.8, which brings h5py)"
        ) from error
