"""
`torchvision:<name>` and `timm:<name>`: classifiers of these libraries, with the weights they publish where those can be had.

Weights come from the libraries' caches, else from the network; torch files among them are loaded as tensors only.
"""

import difflib
import importlib
import inspect
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from spikeloom.capture.hub import hub_folder
from spikeloom.capture.opened import WAYS_ON, Opened, Request, seeded, why
from spikeloom.capture.pictures import of_timm, of_torchvision
from spikeloom.capture.shim import shim_torchvision
from spikeloom.errors import ResourceError, SourceError

TIMEOUT_SECONDS = 10.0


def open_torchvision(name: str, request: Request) -> Opened:
    """The torchvision classifier of that name. SourceError: no such name, or its weights cannot be had; ResourceError: not installed."""
    models = importable("torchvision").models
    if name not in models.list_models():
        raise SourceError(f"torchvision has no model {name!r}", allowed=_near(name, models.list_models()))
    published = models.get_model_weights(name)
    default = getattr(published, "DEFAULT", None)
    if default is None and not request.untrained:
        raise SourceError(f"torchvision publishes no weights for {name!r}", todo=WAYS_ON)
    chosen: dict[str, Any] = _untrained(models.get_model_builder(name), request) if request.untrained else {"weights": default}
    with seeded(request.seed), _tensors_only(), _patient(f"torchvision:{name}"):
        model: nn.Module = models.get_model(name, **chosen)
    transforms = default.transforms() if default is not None else None
    prepared = of_torchvision(transforms) if hasattr(transforms, "crop_size") else None
    names = tuple(default.meta["categories"]) if default is not None and not request.untrained and "categories" in default.meta else None
    size = prepared["size"] if prepared is not None else [224, 224]
    weights = "random" if request.untrained else str(default)
    return Opened(f"torchvision:{name}", model, weights, (3, *size), preprocessing=prepared, class_names=names)


def _untrained(build: Callable[..., Any], request: Request) -> dict[str, Any]:
    """The options that build a torchvision model without fetching anything."""
    backbone = {"weights_backbone": None} if "weights_backbone" in inspect.signature(build).parameters else {}
    return backbone | ({"num_classes": request.classes} if request.classes is not None else {})


def open_timm(name: str, request: Request) -> Opened:
    """The timm classifier of that name. SourceError: no such name, or its weights cannot be had; ResourceError: not installed."""
    timm = importable("timm")
    if not timm.is_model(name):
        raise SourceError(f"timm has no model {name!r}", allowed=_near(name, timm.list_models()))
    options: dict[str, Any] = {} if request.untrained else {"pretrained": True, "pretrained_cfg_overlay": {"file": _timm_file(timm, name)}}
    if request.untrained and request.classes is not None:
        options["num_classes"] = request.classes
    with seeded(request.seed), _tensors_only(), _patient(f"timm:{name}"):
        model: Any = timm.create_model(name, **options)
    config = timm.data.resolve_model_data_config(model)
    weights = "random" if request.untrained else str(model.pretrained_cfg.get("hf_hub_id"))
    return Opened(f"timm:{name}", model, weights, tuple(config["input_size"]), preprocessing=of_timm(config))


def _timm_file(timm: Any, name: str) -> str:
    """The safetensors file of a timm model's published weights, from the hub's cache or fetched."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise SourceError(f"timm publishes no weights for {name!r} on the hub", todo=WAYS_ON)
    folder = hub_folder(config.hf_hub_id, ("config.json", "model.safetensors"), lambda path: (path / "model.safetensors").is_file())
    if not (folder / "model.safetensors").is_file():
        raise SourceError(f"{config.hf_hub_id} holds no safetensors", todo=WAYS_ON)
    return str(folder / "model.safetensors")


def importable(library: str) -> Any:
    """torchvision or timm, imported (shimmed where its build needs it). ResourceError: not installed, or its import fails."""
    shim_torchvision()
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        todo = f"pip install {library} (with torchvision in the build that matches torch {torch.__version__})"
        raise ResourceError(f"{library}: sources need the library {library!r}", found=str(error), todo=todo) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise ResourceError(
            f"{library} is installed but cannot be imported", found=why(error), todo="install the build that matches torch"
        ) from error


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=6, cutoff=0.4)
    return f"{len(known)} names" + (f", among them {', '.join(close)}" if close else "")


@contextmanager
def _tensors_only() -> Generator[None]:
    """torch.load gives tensors only inside, whoever calls it."""
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


@contextmanager
def _patient(address: str) -> Generator[None]:
    """Sockets opened inside give up after TIMEOUT_SECONDS; what goes wrong becomes a SourceError with the ways on."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    except Exception as error:  # the builders and the readers of their weights raise anything
        raise SourceError(f"{address} cannot be built with its weights", found=why(error), todo=WAYS_ON) from error
    finally:
        socket.setdefaulttimeout(before)
