"""
Training (floor 4): an ordinary network where no weights can be had, `train_classifier`; a spiking one as it runs, `FineTune`. Both with
checkpoints that resume to the same end.
"""

from spikeloom.train.classifier import train_classifier
from spikeloom.train.examples import examples_of, unlabelled
from spikeloom.train.finetune import FineTune
from spikeloom.train.progress import TrainProgress, TrainResult
from spikeloom.train.through_time import Unrolled

__all__ = ["FineTune", "TrainProgress", "TrainResult", "Unrolled", "examples_of", "train_classifier", "unlabelled"]
