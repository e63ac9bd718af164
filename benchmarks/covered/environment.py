"""
An environment with torchvision and timm, kept apart: a CUDA build of torchvision beside a CPU build of torch breaks
transformers unless it is shimmed first (`spikeloom.capture.shim`), so it is never put into .venv.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-coverage"
TORCH, TORCHVISION = "torch==2.13.0", "torchvision==0.28.0"


def is_complete() -> bool:
    """Whether this process can import everything the benchmark measures."""
    return all(importlib.util.find_spec(name) is not None for name in ("torchvision", "timm", "transformers", "spikeloom"))


def enter(arguments: list[str]) -> None:
    """Go on in the environment, made first where it is not there; does not return."""
    python = FOLDER / "bin" / "python"
    ready = FOLDER / "ready"
    if not ready.is_file():
        make(python)
        ready.touch()
    os.execv(python, [str(python), *arguments])


def make(python: Path) -> None:
    """The environment in `FOLDER`: torch first, as pip is set up to find it; then what must fit it."""
    print(f"making {FOLDER} (once: torch, torchvision, timm, transformers, this checkout)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    for wanted in ([TORCH], [TORCH, TORCHVISION, "timm>=1.0.20,<2", "-e", f"{ROOT}[hf]"]):
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
