"""
`hf:<hub id or folder>`: models of the transformers library, built from config.json and safetensors; code beside them never runs.

An image classifier is built where the configuration's model type has one, else the architecture the configuration names. Of a text model
with a head the model beneath it is read; `hf:<folder>#encoder`, `#text` and `#vision` are parts of larger models (`parts`). Attention is
transformers' "eager" form, so that its products and its softmax stand in the graph one by one.

Source: https://huggingface.co/docs/transformers.
"""

import copy
import inspect
import json
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeloom.capture.hub import hub_folder
from spikeloom.capture.language import LENGTH, Reader, example, makes_its_mask
from spikeloom.capture.opened import WAYS_ON, Opened, Request, path_of, seeded, why
from spikeloom.capture.parts import TOWERS, apart, beneath, part_of, parts_of
from spikeloom.capture.pictures import of_hugging_face
from spikeloom.capture.shim import shim_torchvision
from spikeloom.errors import ResourceError, SourceError

PLAIN_FILES = ("*.json", "*.safetensors")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENS = 16


def open_hf(target: str, request: Request) -> Opened:
    """
    The model of a folder or hub id, with its weights unless the request brings or forbids them.

    SourceError: no such model or part of it, a configuration transformers does not know or that needs code of its own, weights missing or
    damaged.
    """
    transformers = _library()
    whole, part = apart(target)
    folder = _folder(whole, request)
    config = _config(transformers, folder)
    if request.untrained and request.classes is not None:
        config.num_labels = request.classes
    build = _architecture(transformers, config, folder)
    with _quiet(transformers):
        model: Any = _random(build, config, request.seed) if request.untrained else _pretrained(build, config, folder)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    chosen = _read_alone(model) if part is None else part_of(model, part)
    weights = ("random" if request.untrained else whole) + _beside(model, chosen, part)
    if (task := reading_task(chosen)) is not None:
        return _reader(f"hf:{target}", chosen, folder, weights, task)
    return _opened(f"hf:{target}", chosen, folder, weights)


def _read_alone(model: Any) -> Any:
    """The model beneath a head where that reads texts, else the model itself."""
    base = beneath(model)
    return model if reading_task(base) is None else base


def _beside(model: Any, chosen: Any, part: str | None) -> str:
    """What is said of weights that are read in part."""
    if chosen is model:
        return ""
    return f" ({type(model).__name__}, without its head)" if part is None else f" (the {part} part of {type(model).__name__})"


def _library() -> Any:
    shim_torchvision()
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ResourceError("hf: sources need the library 'transformers'", found=str(error), todo="pip install 'spikeloom[hf]'") from error
    return transformers


def _folder(target: str, request: Request) -> Path:
    path = path_of(target)
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise SourceError(f"{path} is a file, not a model folder", todo="give the folder that holds config.json, or another kind of source")
    if request.untrained:
        return hub_folder(target, PLAIN_FILES[:1], lambda folder: (folder / "config.json").is_file())
    folder = hub_folder(target, PLAIN_FILES, _is_complete)
    return folder if _is_complete(folder) else hub_folder(target, (*PLAIN_FILES, "pytorch_model*.bin"), _is_complete)


def _is_complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in WEIGHT_FILES)


def _config(transformers: Any, folder: Path) -> Any:
    try:
        plain = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder} is not a transformers model", found=f"config.json: {why(error)}", todo="give a folder with config.json"
        ) from error
    if not isinstance(plain, dict) or "model_type" not in plain:
        raise SourceError(
            f"{folder}/config.json is not a transformers configuration",
            found="no model_type",
            todo=f"name the architecture and give the weights: for example zoo:cifar-resnet20 --weights {folder}/model.safetensors",
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError, TypeError, ImportError) as error:
        raise SourceError(
            f"transformers {transformers.__version__} cannot read the configuration of {folder}",
            found=why(error),
            todo="a model that brings code of its own is not run; build it yourself and give py:<module>:<callable>",
        ) from error


def _architecture(transformers: Any, config: Any, folder: Path) -> Any:
    """The class to build: an image classifier of this model type (the one the configuration names, else the first), else what it names."""
    mapping = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    found = mapping.get(type(config), ())
    classifiers = found if isinstance(found, list | tuple) else (found,)
    named = list(getattr(config, "architectures", None) or ())
    chosen = next((build for build in classifiers if build.__name__ in named), None)
    if chosen is None and named:
        chosen = getattr(transformers, named[0], None)
    if chosen is None and classifiers and not named:
        chosen = classifiers[0]
    if chosen is None:
        raise SourceError(
            f"{folder}/config.json names no architecture of transformers",
            found=named or "no `architectures`",
            allowed="a class of transformers",
        )
    return chosen


def _random(build: Any, config: Any, seed: int) -> nn.Module:
    with seeded(seed):
        return build._from_config(config, attn_implementation="eager", dtype=torch.float32)


def _pretrained(build: Any, config: Any, folder: Path) -> nn.Module:
    if not _is_complete(folder):
        raise SourceError(f"{folder} holds no weights", found=", ".join(sorted(path.name for path in folder.iterdir())[:8]), todo=WAYS_ON)
    try:
        model, said = build.from_pretrained(
            folder, config=config, local_files_only=True, attn_implementation="eager", dtype="auto", output_loading_info=True
        )
    except Exception as error:  # transformers raises whatever its readers raise
        raise SourceError(f"the model in {folder} cannot be loaded", found=why(error), todo="fetch or save it again") from error
    bare = build.__name__.endswith("Model")  # what a bare model pools on top of its hidden states is often not saved, nor read here
    missing = sorted(name for name in map(str, said["missing_keys"]) if not (bare and name.startswith("pooler.")))
    if missing:
        raise SourceError(
            f"the weights in {folder} do not fill {build.__name__}",
            found=f"{len(missing)} missing: {', '.join(missing[:8])}",
            todo="take a fine-tuned model, or train this one with --train",
        )
    return model


@contextmanager
def _quiet(transformers: Any) -> Generator[None]:
    """transformers neither reports nor draws inside; its settings are as they were afterwards."""
    logging = transformers.utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _opened(address: str, model: Any, folder: Path, weights: str) -> Opened:
    vision = getattr(model.config, "vision_config", model.config)
    channels = int(getattr(vision, "num_channels", None) or 3)
    size = _image_size(vision)
    prepared = of_hugging_face(folder, size, channels)
    name = model.main_input_name
    size = size if prepared is None else prepared["size"]
    text = name == "input_ids"
    shape = (TOKENS,) if text else _of_sound(model) if name == "input_features" else None if size is None else (channels, *size)
    vocabulary = int(model.config.get_text_config().vocab_size) if text else None
    return Opened(
        address,
        model,
        weights,
        shape,
        input_name=name,
        vocabulary=vocabulary,
        preprocessing=prepared,
        class_names=_names(model.config),
        task="image-classification" if "ImageClassification" in type(model).__name__ else "other",
        facts={"vocabulary": vocabulary} if text else None,
    )


def _of_sound(model: Any) -> tuple[int, int] | None:
    """The shape of a spectrogram that a speech encoder takes whole; its first convolutions halve the number of frames."""
    bins, frames = getattr(model.config, "num_mel_bins", None), getattr(model.config, "max_source_positions", None)
    return (int(bins), 2 * int(frames)) if bins and frames else None


def reading_task(model: Any) -> str | None:
    """What a model does with a text that it reads by tokens and a mask from outside (`language.Reader`); None for any other."""
    name, takes = type(model).__name__, inspect.signature(model.forward).parameters
    if model.main_input_name != "input_ids" or "attention_mask" not in takes or "decoder_input_ids" in takes or parts_of(model) == TOWERS:
        return None
    if name.endswith(("EncoderModel", "Encoder", "Stack")) and not model.config.is_decoder:
        return "feature-extraction" if model._can_set_attn_implementation() else None
    if "position_ids" not in takes or not (getattr(model, "_supports_attention_backend", False) or makes_its_mask(model)):
        return None
    if name.endswith(("CausalLM", "LMHeadModel")):
        return "text-generation"
    return "feature-extraction" if name.endswith("Model") else None


def reads_texts(model: nn.Module) -> bool:
    """Whether a module is a transformers model that reads texts as tokens, positions and masks."""
    transformers: Any = sys.modules.get("transformers")
    return transformers is not None and isinstance(model, transformers.PreTrainedModel) and reading_task(model) is not None


def of_module(model: Any) -> Opened | None:
    """A transformers model in memory that reads texts, as an address of it would be opened; None for any other module. It becomes a copy
    that shares the model's weights, so that the model itself stays as it is."""
    task = reading_task(model) if reads_texts(model) else None
    if task is None:
        return None
    shared = {id(value): nn.Parameter(value.detach(), requires_grad=False) for value in model.parameters()}
    shared |= {id(value): value.detach() for value in model.buffers()}
    folder = Path(model.name_or_path) if os.path.isdir(model.name_or_path or "") else None
    return _reader(f"module:{type(model).__name__}", copy.deepcopy(model, shared), folder, "as given", task)


def _reader(address: str, model: Any, folder: Path | None, weights: str, task: str) -> Opened:
    """A reader of tokens, as a function of tokens, positions and mask."""
    reader, config = Reader(model), model.config.get_text_config()
    bos, eos = getattr(config, "bos_token_id", None), getattr(config, "eos_token_id", None)
    context = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    facts = {
        "tokenizer": str(folder) if folder is not None and (folder / "tokenizer.json").is_file() else None,
        "context": None if context is None else int(context) - reader.first,
        "bos": bos if isinstance(bos, int) else None,
        "eos": eos if isinstance(eos, int | list) else None,
        "vocabulary": int(config.vocab_size),
    }
    return Opened(
        address,
        reader,
        weights,
        example=example(int(config.vocab_size), reader.structure),
        task=task,
        structure=reader.structure,
        lengths=LENGTH,
        facts=facts,
    )


def _image_size(config: Any) -> tuple[int, int] | None:
    size = getattr(config, "image_size", None)
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (int(size), int(size)) if isinstance(size, int) else None


def _names(config: Any) -> tuple[str, ...] | None:
    """The names of the classes, where the configuration has others than LABEL_0, LABEL_1, …"""
    said: Mapping[int, str] = getattr(config, "id2label", None) or {}
    names = tuple(str(said[key]) for key in sorted(said))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names
