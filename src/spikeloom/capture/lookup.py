"""
Bare names and paths: where a source without a scheme is looked for, in this order; the first that has it is taken.

    1. an existing path    x.onnx → onnx:   x.pt2 → pt2:   x.py:callable → py:   a folder with config.json → hf:
    2. zoo:                our own architectures
    3. torchvision:        where it is installed
    4. timm:               where it is installed
    5. hf:                 the Hugging Face hub, its cache first
"""

import difflib
import importlib.util
import os
from pathlib import Path

from spikeloom.capture.huggingface import open_hf
from spikeloom.capture.opened import WAYS_ON, Opened, Request, path_of
from spikeloom.capture.vision import importable
from spikeloom.errors import ResourceError, SourceError
from spikeloom.zoo import ARCHITECTURES

SUFFIXES = {".onnx": "onnx", ".pt2": "pt2"}


def of_path(name: str) -> str | None:
    """The address of an existing path; None where there is nothing at that path. SourceError where what is there is no model."""
    path = path_of(name)
    if not os.path.exists(path):
        file, _, entry = name.rpartition(":")
        return f"py:{name}" if entry and file.endswith(".py") and os.path.isfile(path_of(file)) else None
    if path.is_dir():
        return _of_folder(path)
    if path.suffix in SUFFIXES:
        return f"{SUFFIXES[path.suffix]}:{name}"
    weights = path.suffix in (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")
    raise SourceError(
        f"{path} is not a model by itself",
        found="a file of weights" if weights else f"a {path.suffix or 'nameless'} file",
        allowed=".onnx, .pt2, file.py:callable, or a folder with config.json",
        todo=f"name the architecture it belongs to: zoo:<name> --weights {path}" if weights else None,
    )


def _of_folder(path: Path) -> str:
    if (path / "config.json").is_file() and not (path / "program.json").is_file():
        return f"hf:{path}"
    if (path / "program.json").is_file():
        raise SourceError(
            f"{path} is a saved Spikeloom program, not a source", todo="use it with `spikeloom evaluate` or `spikeloom report`"
        )
    if (path / "hubconf.py").is_file():
        raise SourceError(f"{path} is a torch hub folder", todo=f"say which of its entries: torchhub:{path}:<entry>")
    inside = ", ".join(sorted(item.name for item in path.iterdir())[:8])
    raise SourceError(
        f"the folder {path} holds no model", found=inside or "nothing", allowed="a folder with config.json, hubconf.py, or one file's path"
    )


def of_name(name: str) -> tuple[str | None, list[str]]:
    """The address of a name among the libraries at hand (the hub is not asked), and what each library that has none said."""
    if name in ARCHITECTURES:
        return f"zoo:{name}", []
    said = [f"zoo: no such name (it has {', '.join(ARCHITECTURES)})"]
    for library, listing in (("torchvision", "models.list_models"), ("timm", "list_models")):
        if importlib.util.find_spec(library) is None:
            said.append(f"{library}: not installed")
            continue
        try:
            found = importable(library)
        except ResourceError as error:
            said.append(f"{library}: {error.found}")
            continue
        for part in listing.split("."):
            found = getattr(found, part)
        if name in found():
            return f"{library}:{name}", said
        close = difflib.get_close_matches(name, found(), n=3)
        said.append(f"{library}: no such name" + (f" (near: {', '.join(close)})" if close else ""))
    return None, said


def open_on_hub(name: str, request: Request, said: list[str]) -> Opened:
    """The model of that hub id. SourceError lists this and every other place that was looked at."""
    try:
        return open_hf(name, request)
    except (SourceError, ResourceError) as error:
        looked = [f"path: there is no {Path(name)}", *said, f"hf: {error.problem} ({error.found})"]
        raise SourceError(f"nothing called {name!r} can be found", found="\n    " + "\n    ".join(looked), todo=WAYS_ON) from error
