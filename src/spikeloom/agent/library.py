"""
The libraries of environments, loaded where they are needed.
"""

import importlib
from typing import Any

from spikeloom.errors import ResourceError


def gymnasium() -> Any:
    """The module `gymnasium` with its vector environments. Raises ResourceError where it is not installed."""
    found = _module("gymnasium")
    _module("gymnasium.vector")
    return found


def minigrid() -> Any:
    """The module `minigrid`, whose import registers its environments. Raises ResourceError where it is not installed."""
    return _module("minigrid")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise ResourceError(
            f"acting in an environment needs the library {library}", found=str(error), todo="pip install 'spikeloom[agents]'"
        ) from error
