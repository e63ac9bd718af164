"""
Sources: one form of address for every kind of model, and what comes of it.

    hf:<hub id or folder>[#part]     transformers            onnx:<file>              ONNX
    torchhub:<repo or folder>:<entry>  a hubconf.py          pt2:<file>               torch.export
    torchvision:<name>  timm:<name>  their classifiers       py:<module>:<callable>   your own code
    zoo:<name>                       our own architectures   a bare name or path      looked up, see `lookup`
    sb3:<zip>                        Stable-Baselines3       policy:<folder>          a policy of plain layers

Addresses are data: only `torchhub:` and `py:` run code that they name.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from spikeloom import zoo
from spikeloom.capture.acting import open_policy
from spikeloom.capture.export import capture, set_eval
from spikeloom.capture.halves import dtype_of, in_dtype
from spikeloom.capture.huggingface import of_module, open_hf
from spikeloom.capture.lookup import of_name, of_path, open_on_hub
from spikeloom.capture.named import open_py, open_torchhub
from spikeloom.capture.opened import WAYS_ON, Opened, Request, existing_file, path_of, places_of, why
from spikeloom.capture.parts import TOWERS, parts_of, ways_to
from spikeloom.capture.pictures import at_shape, beside, of_config, preparation
from spikeloom.capture.pt2 import open_pt2
from spikeloom.capture.sb3 import open_sb3
from spikeloom.capture.vision import open_timm, open_torchvision
from spikeloom.capture.weights import check_finite, load_weights
from spikeloom.errors import ResourceError, SourceError, UnsupportedError, UserError
from spikeloom.ir import Program


@final
@dataclass(frozen=True)
class Source:
    """
    A model ready to be captured: the module in eval mode, example inputs (batch of 2 where it may vary), and what is known of it.

    `settings` is JSON: source (the address as resolved), weights (where they come from), classes, class_names, preprocessing, input_shape
    (of one sample, of the first input), task ("image-classification", "text-generation", "feature-extraction", "acting" or "other");
    readers of tokens add tokenizer (the folder that holds it), context (the most tokens they take) and bos (the token a text starts
    with), policies their spaces (`acting`).
    `structure` and `lengths` are what `capture` takes.
    """

    address: str
    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    settings: dict[str, Any]
    structure: Mapping[str, str] | None = None
    lengths: int | None = None

    def program(self, **facts: Any) -> Program:
        """The model captured, with its settings and these facts over them."""
        settings = {**self.settings, **facts}
        return capture(self.model, self.args, self.kwargs, settings, structure=self.structure, lengths=self.lengths)


def open_zoo(name: str, request: Request) -> Opened:
    """One of our own architectures. SourceError: no such name, or asked for with weights, which we publish none of."""
    found = zoo.architecture(name)
    if not request.untrained:
        looked = [f"there is no {place}" for place in places_of(name, request.data_root)] or ["no --weights and no --data-root were given"]
        raise SourceError(f"zoo:{name} comes without weights, and none were found", found="; ".join(looked), todo=WAYS_ON)
    model = found.build(request.classes, seed=request.seed)
    prepared = preparation(found.input_shape[1:], found.mean, found.std)
    return Opened(f"zoo:{name}", model, "random", found.input_shape, preprocessing=prepared)


def open_onnx(target: str, request: Request) -> Opened:
    """The module of an ONNX file, with example inputs of its own shapes. Errors as `load_onnx`."""
    path = existing_file(path_of(target), "an ONNX file")
    from spikeloom.capture.onnx import load_onnx

    model = load_onnx(path)
    generator = torch.Generator().manual_seed(request.seed)
    example: list[Tensor] = []
    for spec in model.input_specs:
        shape = [size if size is not None else 2 for size in spec.shape]
        example.append(
            torch.randn(shape, generator=generator).to(spec.dtype) if spec.dtype.is_floating_point else torch.zeros(shape, dtype=spec.dtype)
        )
    return Opened(f"onnx:{path}", model, str(path), example=tuple(example))


OPENERS: Mapping[str, Callable[[str, Request], Opened]] = {
    "hf": open_hf,
    "torchhub": open_torchhub,
    "torchvision": open_torchvision,
    "timm": open_timm,
    "onnx": open_onnx,
    "pt2": open_pt2,
    "py": open_py,
    "zoo": open_zoo,
    "sb3": open_sb3,
    "policy": open_policy,
}


def opened(address: str, request: Request) -> Opened:
    """What an address holds. SourceError: a scheme nobody knows, or a bare name nothing is called."""
    if not address:
        raise SourceError("an empty name is no source", todo=WAYS_ON)
    scheme, colon, target = address.partition(":")
    if colon and scheme in OPENERS:
        if not target:
            raise SourceError(f"the address {address!r} names nothing", todo=f"say what, after {scheme}:")
        return OPENERS[scheme](target, request)
    found = of_path(address)
    if found is not None:
        return opened(found, request)
    if colon:
        allowed = ", ".join(f"{name}:" for name in OPENERS)
        raise SourceError(f"no kind of source is called {scheme!r}", found=address, allowed=f"{allowed} or a bare name or path")
    found, said = of_name(address)
    return opened(found, request) if found is not None else open_on_hub(address, request, said)


def opened_module(model: nn.Module) -> Opened:
    """A module in memory, as it is given; a transformers model that reads texts as such a reader."""
    return of_module(model) or Opened(f"module:{type(model).__name__}", model, "as given")


def resolve(
    address: str | nn.Module,
    *,
    weights: Path | None = None,
    classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    allow_pickle: bool = False,
    random_weights: bool = False,
    seed: int = 0,
    example: Sequence[Any] | Tensor | None = None,
    data_root: Path | None = None,
) -> Source:
    """
    The model at an address (or the module given), with its weights, run once on example inputs.

    `weights` replaces the source's own (of our own architectures they are looked for in `data_root`: `places_of`); `random_weights` asks
    for none; `classes` is how many outputs there must be (built so where the
    architecture is untrained); `input_shape` is of one sample; `example` are the inputs themselves, of which a
    reader of texts has its own. A module given is put in eval mode; a transformers model that reads texts stays as it is.

    SourceError says what was looked for, where, and the ways on; NumericError names weights that are not finite; ResourceError names a
    missing library.
    """
    if weights is None and not random_weights and isinstance(address, str):
        weights = _kept(address, data_root)
    request = Request(weights, classes, input_shape, allow_pickle, random_weights, seed, data_root)
    if weights is not None and not os.path.lexists(weights):
        raise SourceError(f"there is no file {weights}", allowed="a safetensors or state-dict file", todo=WAYS_ON)
    if weights is not None:
        existing_file(weights, "a safetensors or state-dict file")
    found = opened_module(address) if isinstance(address, nn.Module) else opened(address, request)
    if weights is not None:
        load_weights(found.model, weights)
    set_eval(found.model)
    said = beside(weights)
    args, kwargs = _inputs(found, request, said, example)
    outputs = _run(found, args, kwargs)
    check_finite(found.model.state_dict(), found.address)  # after the run: a lazy module's weights exist only then
    settings = _settings(found, request, said, args, kwargs, outputs)
    if classes is not None and settings["classes"] != classes:
        raise SourceError(
            f"{found.address} has another number of classes than asked for", found=settings["classes"], allowed=classes, todo=WAYS_ON
        )
    return Source(found.address, found.model, args, kwargs, settings, found.structure, found.lengths)


def _kept(address: str, data_root: Path | None) -> Path | None:
    """The weights of an architecture of ours that lie in the data root; None where there are none."""
    name = address.removeprefix("zoo:")
    if name not in zoo.ARCHITECTURES or (name == address and of_path(name) is not None):
        return None
    return next((place for place in places_of(name, data_root) if place.is_file()), None)


def load(address: str | nn.Module, **options: Any) -> Program:
    """The program of the model at an address; options and errors as `resolve`, and UnsupportedError where it cannot be captured."""
    return resolve(address, **options).program()


def _inputs(
    found: Opened, request: Request, said: Mapping[str, Any], example: Sequence[Any] | Tensor | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example inputs, from the first that says: the caller, the request, the configuration beside the weights, the source."""
    if example is not None and found.structure is None:
        return _of_two((example,) if isinstance(example, Tensor) else tuple(example)), {}
    shape = request.input_shape or _shape_in(said) or found.input_shape
    if found.example is not None and request.input_shape is None:
        return _of_two(found.example), {}
    if shape is None:
        raise SourceError(
            f"{found.address} does not say what it takes",
            todo="say the shape of one sample with --input-shape, for example 3,32,32, or return (module, example)",
        )
    generator = torch.Generator().manual_seed(request.seed)
    if found.vocabulary is not None:
        value = torch.randint(0, found.vocabulary, (2, *shape), generator=generator)
    else:
        value = torch.randn((2, *shape), generator=generator)
    return ((value,), {}) if found.input_name is None else ((), {found.input_name: value})


def _shape_in(said: Mapping[str, Any]) -> tuple[int, ...] | None:
    shape = said.get("input")
    return tuple(shape) if isinstance(shape, list) and shape and all(isinstance(size, int) for size in shape) else None


def _of_two(example: tuple[Any, ...]) -> tuple[Any, ...]:
    """The example with a batch of two where it had a batch of one: a batch of one would be taken for a constant."""
    tensors = [value for value in pytree.tree_leaves(example) if isinstance(value, Tensor) and value.dim() > 0]
    if not tensors or any(tensor.shape[0] != 1 for tensor in tensors):
        return example
    return pytree.tree_map(lambda value: torch.cat([value, value]) if isinstance(value, Tensor) and value.dim() > 0 else value, example)


def _run(found: Opened, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        args, kwargs = in_dtype((args, dict(kwargs)), dtype_of(found.model))
        with torch.no_grad():
            return found.model(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:  # forward() is anybody's code
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise ResourceError(f"{found.address} needs more memory than there is", found=why(error)) from error
        if parts := parts_of(found.model):
            what = "has two towers" if parts == TOWERS else "reads one sequence to write another"
            raise UnsupportedError(
                f"{found.address} {what}, which is not captured as a whole yet",
                found=f"{type(found.model).__name__}: {why(error)}",
                allowed="causal language models, and encoders",
                todo=ways_to(found.address, found.model),
            ) from error
        tensors = [value for value in pytree.tree_leaves((args, dict(kwargs))) if isinstance(value, Tensor)]
        whole = " of whole numbers" if tensors and not any(tensor.is_floating_point() for tensor in tensors) else ""
        raise SourceError(
            f"{found.address} does not run on inputs of shape {[list(tensor.shape) for tensor in tensors]}{whole}",
            found=why(error),
            todo="give inputs that the model takes, or the shape of one sample with --input-shape",
        ) from error


def _settings(
    found: Opened, request: Request, said: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any
) -> dict[str, Any]:
    first = next(value for value in pytree.tree_leaves((args, dict(kwargs))) if isinstance(value, Tensor))
    shape = [int(size) for size in first.shape[1:]]
    logits = _logits(outputs)
    classes = int(logits.shape[1]) if logits is not None else None
    names = found.class_names if found.class_names is not None and len(found.class_names) == classes else None
    is_classifier = classes is not None and classes > 1 and len(shape) == 3
    return {
        "source": found.address,
        "weights": str(request.weights) if request.weights is not None else found.weights,
        "classes": classes,
        "class_names": list(names) if names is not None else None,
        "preprocessing": of_config(said, shape) or at_shape(found.preprocessing, shape),
        "input_shape": shape,
        "task": found.task or ("image-classification" if is_classifier else "other"),
        **(found.facts or {}),
    }


def _logits(outputs: Any) -> Tensor | None:
    """The scores per class among a model's outputs, [batch, classes]; None where there are none."""
    if isinstance(outputs, Mapping):
        outputs = outputs.get("logits")
    if isinstance(outputs, list | tuple) and len(outputs) == 1:
        outputs = outputs[0]
    return outputs if isinstance(outputs, Tensor) and outputs.dim() == 2 else None
