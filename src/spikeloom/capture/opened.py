"""What a caller asks of a source, and what an address turned out to hold: the two values every opener works between."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from spikeloom.errors import SourceError

WAYS_ON = (
    "give a state dict with --weights FILE, or train the network here first with --train, "
    "or run `spikeloom convert` without a source for the built-in digits CNN"
)


@final
@dataclass(frozen=True)
class Request:
    """
    What is asked of a source.

    weights: a state dict to load over whatever the source has. classes: how many the output must have. input_shape: of one sample,
    without the batch. allow_pickle: trust what a `pt2:` archive pickled. random_weights: an untrained network, drawn from `seed`.
    data_root: where weights of our own architectures may lie (`places_of`).
    """

    weights: Path | None = None
    classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    allow_pickle: bool = False
    random_weights: bool = False
    seed: int = 0
    data_root: Path | None = None

    @property
    def untrained(self) -> bool:
        """Whether the network is wanted without the weights its source would bring."""
        return self.random_weights or self.weights is not None


@final
@dataclass(frozen=True)
class Opened:
    """
    What an address holds: the module and what its own configuration says of it.

    `weights` says in words where they come from. `example` are positional example inputs of models that say what they take; else
    `input_shape` of one sample, `input_name` the keyword it goes by (None: positional), `vocabulary` the number of tokens of an input of
    integers. `task` is what the source itself calls it. A reader of tokens has a `structure` (`ir.structure_of`) for its further
    inputs, `lengths`, the size of its example that varies, and `facts` of its own for the settings: tokenizer, context, bos.
    """

    address: str
    model: nn.Module
    weights: str
    input_shape: tuple[int, ...] | None = None
    input_name: str | None = None
    vocabulary: int | None = None
    example: tuple[Any, ...] | None = None
    preprocessing: Mapping[str, Any] | None = None
    class_names: tuple[str, ...] | None = None
    task: str | None = None
    structure: Mapping[str, str] | None = None
    lengths: int | None = None
    facts: Mapping[str, Any] | None = None


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Torch's global generator starts from `seed` inside, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def why(error: BaseException) -> str:
    """An exception as one line: its type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def path_of(target: str) -> Path:
    """The path that a target names, ~ expanded. Ask `os.path` whether it is there: a hub id may be no possible file name."""
    return Path(os.path.expanduser(target))


def places_of(name: str, data_root: Path | None) -> tuple[Path, ...]:
    """Where weights of an architecture of ours are looked for, in this order; nowhere without a data root."""
    return () if data_root is None else (data_root / name / "model.safetensors", data_root / f"{name}.safetensors")


def existing_file(path: Path, what: str) -> Path:
    """The path, where it is a file. SourceError: there is none, or it is a folder."""
    if os.path.isdir(path):
        inside = ", ".join(sorted(item.name for item in path.iterdir() if item.is_file())[:8])
        raise SourceError(f"{path} is a folder, not {what}", found=inside or "an empty folder", todo="name the file itself")
    if not os.path.isfile(path):
        raise SourceError(f"there is no file {path}", todo=f"give the path of {what}")
    return path
