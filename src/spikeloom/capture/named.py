"""
`torchhub:<repo or folder>:<entry>` and `py:<module or file>:<callable>`: code that runs because the user named it.

A callable is given `num_classes` (or `classes`) where the request says how many, and `pretrained` as the request wants, where its signature
has them. It returns a module, or a module and example inputs.

Source: torch.hub (https://docs.pytorch.org/docs/stable/hub.html): a repository's hubconf.py with its `dependencies` and entries.
"""

import importlib
import importlib.util
import inspect
import os
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.capture.opened import WAYS_ON, Opened, Request, path_of, seeded, why
from spikeloom.errors import ResourceError, SourceError, UserError

TIMEOUT_SECONDS = 10.0


def open_torchhub(target: str, request: Request) -> Opened:
    """The module that a hubconf.py's entry builds. SourceError: no such repository or entry, unreachable, or the entry fails."""
    where, _, entry = target.rpartition(":")
    if not where or not entry:
        raise SourceError(
            "a torch hub address has two parts", found=f"torchhub:{target}", allowed="torchhub:<owner/repo or folder>:<entry>"
        )
    folder = path_of(where) if os.path.exists(path_of(where)) else _fetched(where)
    if not (folder / "hubconf.py").is_file():
        raise SourceError(f"{folder} is no torch hub folder", found="no hubconf.py", todo="give the folder that holds hubconf.py")
    with _importing(folder), _failing(f"torchhub:{target}"), seeded(request.seed):
        conf = _module_of(folder / "hubconf.py")
        _check_dependencies(conf, where)
        return _opened(f"torchhub:{target}", _attribute(conf, entry, where), request)


def open_py(target: str, request: Request) -> Opened:
    """
    What a callable of a Python module or file builds, or the module object of that name.

    SourceError: no such module, no such callable, or it fails or returns something else.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise SourceError("a Python address has two parts", found=f"py:{target}", allowed="py:<module or file.py>:<callable>")
    with _importing(Path.cwd()), _failing(f"py:{target}"), seeded(request.seed):
        module = _module_of(path_of(where)) if where.endswith(".py") else importlib.import_module(where)
        return _opened(f"py:{target}", _attribute(module, name, where), request)


def _fetched(where: str) -> Path:
    """The folder of a GitHub repository in torch hub's cache, fetched where it is not there."""
    repository, _, ref = where.partition(":")
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name:
        raise SourceError(
            f"{where!r} is neither a folder nor a repository", allowed="a folder with hubconf.py, or owner/repo, or owner/repo:ref"
        )
    folders = [
        Path(torch.hub.get_dir()) / f"{owner}_{name}_{branch.replace('/', '_')}" for branch in ([ref] if ref else ["main", "master"])
    ]
    cached = next((folder for folder in folders if folder.is_dir()), None)
    if cached is not None:
        return cached
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        torch.hub.list(where, trust_repo=True, skip_validation=True, verbose=False)  # pyright: ignore[reportArgumentType]
    except (OSError, RuntimeError, ValueError) as error:
        todo = f"give a local copy, torchhub:<folder>:<entry>; else {WAYS_ON}"
        raise SourceError(f"the repository {where!r} cannot be had from GitHub", found=why(error), todo=todo) from error
    finally:
        socket.setdefaulttimeout(before)
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _module_of(path: Path) -> ModuleType:
    """The module of a Python file, executed. SourceError: no such file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not os.path.isfile(path) or spec is None or spec.loader is None:
        raise SourceError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_dependencies(conf: ModuleType, where: str) -> None:
    missing = [name for name in getattr(conf, "dependencies", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(
            f"{where} needs libraries that are not installed", found=", ".join(missing), todo=f"pip install {' '.join(missing)}"
        )


def _attribute(module: ModuleType, name: str, where: str) -> Any:
    if not hasattr(module, name):
        known = [key for key in dir(module) if not key.startswith("_") and callable(getattr(module, key))]
        raise SourceError(f"{where} has no {name!r}", allowed=", ".join(known[:20]) or "it has no callables")
    return getattr(module, name)


def _options(build: Callable[..., Any], request: Request) -> dict[str, Any]:
    """The keywords of a request that a callable takes."""
    try:
        known = inspect.signature(build).parameters
    except (TypeError, ValueError):
        return {}
    options: dict[str, Any] = {"pretrained": not request.untrained} if "pretrained" in known else {}
    name = next((key for key in ("num_classes", "classes") if key in known), None)
    if name is not None and request.classes is not None:
        options[name] = request.classes
    return options


def _opened(address: str, build: Any, request: Request) -> Opened:
    builds = callable(build) and not isinstance(build, nn.Module)
    options = _options(build, request) if builds else {}
    built = build(**options) if builds else build
    model, example = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(model, nn.Module):
        raise SourceError(
            f"{address} does not give a torch module", found=type(built).__name__, allowed="an nn.Module, or (nn.Module, example inputs)"
        )
    inputs = (example,) if isinstance(example, Tensor) else tuple(example) if example is not None else None
    return Opened(address, model, "pretrained" if options.get("pretrained") else "as built", example=inputs)


@contextmanager
def _importing(folder: Path) -> Generator[None]:
    """Modules beside the named code can be imported inside."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


@contextmanager
def _failing(address: str) -> Generator[None]:
    """Whatever the named code raises becomes a SourceError that says so."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        todo = f"mend it, or see that its weights can be had; else {WAYS_ON}"
        raise SourceError(f"{address}: the code that it names fails", found=why(error), todo=todo) from error
