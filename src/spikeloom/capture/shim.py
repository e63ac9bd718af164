"""
A CUDA build of torchvision beside a CPU build of torch breaks its own import, and with it every model of transformers and timm.

Declaring the two operators that its import looks up is enough for its models and transforms; its compiled operators (nms, roi_align)
still raise when called.

Source: pytorch/vision, torchvision/_meta_registrations.py registers a fake kernel for torchvision::nms unconditionally.
"""

import importlib.util
import re
import sys
from pathlib import Path

import torch

_DETECTIONS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_held: list[torch.library.Library] = []  # a Library's operators go with it, so it is held for as long as the process runs


def shim_torchvision() -> None:
    """torchvision can be imported, where it is installed as a CUDA build beside a CPU torch; nothing happens elsewhere or twice."""
    if _held or "torchvision" in sys.modules or not is_mismatched():
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _DETECTIONS)
    _held.append(library)


def is_mismatched() -> bool:
    """Whether torchvision is installed as a CUDA build while torch is a CPU build. Imports nothing."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or torch.version.cuda is not None:
        return False
    version = Path(spec.origin).with_name("version.py")
    return version.is_file() and re.search(r"__version__ = '[^']*\+cu\d+", version.read_text()) is not None
