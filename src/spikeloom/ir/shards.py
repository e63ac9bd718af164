"""
The tensors of a saved program: one `model.safetensors`, or, where they are many, shards of it that are read as they are needed.

    model.safetensors                        up to `SHARD_BYTES`; read into memory
    model-00001.safetensors, …               more than that; mapped: the program's tensors are handles on them

A shard that a program holds unchanged from where it was loaded is linked, not written again: the phases of a conversion, its ANN and
its control share the weights on disk. Source: safetensors (https://huggingface.co/docs/safetensors).
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from spikeloom.ir.handle import Handle, stored
from spikeloom.ir.mapped import bytes_of

SHARD_BYTES = 512 * 2**20
WHOLE = "model.safetensors"
_HALVES = (torch.bfloat16, torch.float16)


def write_tensors(tensors: Mapping[str, Tensor], folder: Path, limit: int | None = None) -> list[str]:
    """Write the tensors into `folder`, which holds none yet; the names of the files."""
    linked, limit = _linkable(tensors), SHARD_BYTES if limit is None else limit
    rest = {name: tensor for name, tensor in tensors.items() if name not in {each for names in linked.values() for each in names}}
    if not linked and sum(map(bytes_of, rest.values())) <= limit:
        save_file(_apart(rest), folder / WHOLE)
        return [WHOLE]
    files: list[str] = []
    for source in linked:
        files.append(f"model-{len(files) + 1:05d}.safetensors")
        _link(source, folder / files[-1])
    for part in _parts(rest, limit):
        files.append(f"model-{len(files) + 1:05d}.safetensors")
        save_file(_apart(part), folder / files[-1])
    return files


def read_tensors(folder: Path, files: list[str], dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of these files of a folder, each in the dtype its graph knows it by (`dtypes`, by name) where it is kept in half of it.

    A lone `model.safetensors` is read into memory of its own: a file aligns tensors to 8 bytes, and other kernels would then give other
    last bits. Shards stay where they are, and the tensors are handles on them.
    """
    lazy, found = files != [WHOLE], dict[str, Tensor]()
    for file in files:
        for name, tensor in load_file(folder / file).items():
            known: torch.dtype = getattr(torch, dtypes.get(name, ""), tensor.dtype)
            dtype = known if tensor.dtype in _HALVES and known is torch.float32 else tensor.dtype
            kept = tensor if lazy else tensor.clone()
            found[name] = Handle(kept, dtype, (folder / file).resolve() if lazy else None) if lazy or dtype != tensor.dtype else kept
    return found


def is_sharded(folder: Path) -> bool:
    """Whether the program saved in a folder has its tensors in shards."""
    return not (folder / WHOLE).exists()


def _linkable(tensors: Mapping[str, Tensor]) -> dict[Path, set[str]]:
    """The files of which a program still holds every tensor as it was loaded, with their names."""
    held: dict[Path, set[str]] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, Handle) and tensor.file is not None:
            held.setdefault(tensor.file, set()).add(name)
    return {file: names for file, names in held.items() if file.is_file() and names == _names_in(file)}


def _names_in(file: Path) -> set[str]:
    with safe_open(file, framework="pt") as opened:
        return set(opened.keys())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _parts(tensors: Mapping[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in their order, together as long as they stay within the limit."""
    part: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if part and sum(map(bytes_of, part.values())) + bytes_of(tensor) > limit:
            yield part
            part = {}
        part[name] = tensor
    if part:
        yield part


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of each, on the CPU; none shares its memory with another."""
    seen: set[int] = set()
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = stored(tensor).detach().to("cpu").contiguous()
        place = plain.untyped_storage().data_ptr()
        out[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return out
