"""
Memory: where it runs out, the user can mend that by smaller batches, and is told so.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from spikeloom.errors import ResourceError

_SAID_BY_TORCH = ("allocate memory", "not enough memory")


@contextmanager
def within_memory() -> Generator[None]:
    """ResourceError, with the way out, in place of the several ways in which memory runs out; a decorator too."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _SAID_BY_TORCH)
        if not known:
            raise
        found = str(error).strip().splitlines() or [type(error).__name__]
        raise ResourceError(
            "memory ran out", found=found[0], todo="give a smaller --batch-size (Settings.batch_size), or fewer --calibration-samples"
        ) from error
