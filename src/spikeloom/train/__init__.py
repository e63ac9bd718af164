"""
Training (floor 4): an ordinary network where no weights can be had, or a logic-gated one under `Noise`: `train_classifier`; a spiking one
as it runs, `FineTune`. Both with checkpoints that resume to the same end.
"""

from spikeloom.train.classifier import train_classifier
from spikeloom.train.examples import examples_of, unlabelled
from spikeloom.train.finetune import FineTune
from spikeloom.train.lesson import Teacher
from spikeloom.train.noise import NOISES, Noise, at_strength
from spikeloom.train.progress import TrainProgress, TrainResult
from spikeloom.train.samples import Samples
from spikeloom.train.through_time import Unrolled

__all__ = [
    "NOISES",
    "FineTune",
    "Noise",
    "Samples",
    "Teacher",
    "TrainProgress",
    "TrainResult",
    "Unrolled",
    "at_strength",
    "examples_of",
    "train_classifier",
    "unlabelled",
]
