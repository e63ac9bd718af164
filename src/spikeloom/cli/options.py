"""Options that several commands share. Ranges and words of a conversion are the configuration's to check, in one place."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.errors import ConfigError

EXIT_CODES = "Exit codes: 0 done, 1 a bug, 2 something you can mend, 130 stopped."
SOURCES = (
    "A trained network: hf:<folder or hub id>, onnx:, pt2:, torchvision:, timm:, torchhub:, py:, zoo:, sb3:<zip>, policy:<folder>, "
    "or a bare name or path."
)
DATASETS = (
    "digits, cifar10, mnist, fashion_mnist, hf:, imagefolder:, idx:, npz:; for language models text:<file>; for policies env:<id>; "
    "rows as in digits[:500]."
)
LENGTH = "Tokens of a block of text; 256 by default, or the most the model allows."


def option(metavar: str, text: str) -> Any:
    """An option that takes a value."""
    return typer.Option(metavar=metavar, help=text)


def flag(names: str, text: str) -> Any:
    """An option that takes none."""
    return typer.Option(names, help=text)


Json = Annotated[bool, flag("--json", "Print JSON to stdout, and nothing else there.")]
Debug = Annotated[bool, flag("--debug", "Log what is done, and show the traceback of an error.")]
Weights = Annotated[Path | None, option("FILE", "Weights to load: safetensors, or a state dict of torch.")]
DataRoot = Annotated[
    Path | None,
    option("DIR", "Where data sets called by name lie: DIR/cifar10 and so on; also weights of zoo: DIR/resnet18/model.safetensors."),
]
AllowPickle = Annotated[bool, flag("--allow-pickle", "Trust a pt2: archive that holds pickled code.")]
InputShape = Annotated[str | None, option("C,H,W", "The shape of one sample, where the model does not say.")]


def shape_of(text: str | None) -> tuple[int, ...] | None:
    """The shape that '3,32,32' says. ConfigError where it says none."""
    if text is None:
        return None
    parts = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError("--input-shape is no shape of one sample", found=text, allowed="positive whole numbers, such as 3,32,32")
    return tuple(map(int, parts))
