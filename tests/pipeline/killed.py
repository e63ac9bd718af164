"""Runs a conversion of `cases`, and dies as by `kill -9` where it is told to; run as a process of its own."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import torch

from spikeloom.pipeline import Settings, convert
from spikeloom.train import classifier

torch.set_num_threads(1)
classifier.CHECKPOINT_S = 0.0  # a checkpoint after every step, so that training too has something to resume


def main(folder: Path, address: str, phase: str, done: int, resume: bool) -> None:
    """Converts; dies at the first sign of `phase` that is `done` far; "" lives."""

    def report(what: str, now: int, total: int) -> None:
        if phase and what.startswith(phase) and now >= done:
            os.kill(os.getpid(), 9)

    options = {"timesteps": 2, "levels": 7, "calibration_samples": 64, "batch_size": 16, "train": True, "epochs": 2}
    convert(Settings(dataset=address, output_dir=folder, resume=resume, **options), progress=report)


if __name__ == "__main__":
    folder, address, phase, done, resume = json.loads(sys.argv[1])
    main(Path(folder), address, phase, done, resume)
