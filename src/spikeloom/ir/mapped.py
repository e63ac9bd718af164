"""
Tensors on disk that are read as memory: written once, mapped, and gone from the disk when nobody holds them any more.

The pages of a mapped file are the operating system's to keep or drop; they are no memory of ours.
"""

import ctypes
import gc
import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from spikeloom.errors import ResourceError
from spikeloom.ir.handle import Handle, stored
from spikeloom.ir.quantised import Quantised


def on_disk(tensor: Tensor, folder: Path | None = None) -> Tensor:
    """The same numbers, mapped from a file in `folder` (by default the system's folder for temporary files) that has no name any more.

    A handle stays one. Raises ResourceError where the disk refuses.
    """
    if isinstance(tensor, Handle):
        return Handle(on_disk(tensor.stored, folder), tensor.dtype)
    if isinstance(tensor, Quantised):
        return Quantised(on_disk(tensor.kept, folder), tensor.scale, tensor.zero, tensor.grid, tensor.shape, tensor.error)
    whole = tensor.detach().cpu().contiguous()
    if whole.numel() == 0:
        return whole
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    path = ""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="spikeloom-", delete=False) as file:
            path = file.name
            whole.flatten().view(torch.uint8).numpy().tofile(file)
        return torch.from_file(path, shared=False, size=whole.numel(), dtype=whole.dtype).view(whole.shape)
    except OSError as error:
        raise ResourceError(
            f"cannot write to {path or folder or tempfile.gettempdir()}",
            found=error.strerror or str(error),
            todo="free some disk space, or name another folder in TMPDIR",
        ) from error
    finally:
        if path:
            os.unlink(path)


def bytes_of(tensor: Tensor) -> int:
    """How much room a tensor's numbers take where they are kept."""
    if isinstance(tensor, Quantised):
        return sum(stored(part).nbytes for part in (tensor.kept, tensor.scale, tensor.zero) if part is not None)
    return stored(tensor).nbytes


def trim() -> None:
    """What was freed goes back to the operating system: the C library keeps it for itself otherwise, and a large model would be told that
    there is no memory where there is."""
    gc.collect()
    if sys.platform == "linux":
        give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if give_back is not None:  # glibc has it, musl has not
            give_back(0)
