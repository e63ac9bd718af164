"""Libraries that only some data sets and environments need: imported when they are, and named where they are missing."""

import importlib
from typing import Any

from spikeloom.errors import ResourceError


def require(module: str, extra: str = "data", what: str = "this data set") -> Any:
    """The module, imported. ResourceError names it, what needs it and the extra that brings it where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        raise ResourceError(
            f"{what} needs the library {library!r}, which is not installed",
            found=str(error),
            todo=f"pip install 'spikeloom[{extra}]'",
        ) from error
