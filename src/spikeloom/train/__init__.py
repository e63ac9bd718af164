"""
Training (floor 4): an ordinary network where no weights can be had, or a logic-gated one under `Noise`: `train_classifier`; a spiking one
as it runs, `FineTune`. Both with checkpoints that resume to the same end. `begin_learner` and `adapt_classifier` let a spiking
classifier go on learning by local rules in the stream it is used in.
"""

from spikeloom.train.classifier import train_classifier
from spikeloom.train.contexts import Contexts
from spikeloom.train.continual import ContinualLearner, adapt_classifier, begin_learner
from spikeloom.train.continual_state import resume_learner, save_learner
from spikeloom.train.examples import examples_of, unlabelled
from spikeloom.train.finetune import FineTune
from spikeloom.train.homeostasis import Homeostasis
from spikeloom.train.lesson import Teacher
from spikeloom.train.local_rules import LocalRules
from spikeloom.train.noise import NOISES, Noise, at_strength
from spikeloom.train.progress import TrainProgress, TrainResult
from spikeloom.train.readout import DeltaRule
from spikeloom.train.samples import Samples
from spikeloom.train.through_time import Unrolled

__all__ = [
    "NOISES",
    "Contexts",
    "ContinualLearner",
    "DeltaRule",
    "FineTune",
    "Homeostasis",
    "LocalRules",
    "Noise",
    "Samples",
    "Teacher",
    "TrainProgress",
    "TrainResult",
    "Unrolled",
    "adapt_classifier",
    "at_strength",
    "begin_learner",
    "examples_of",
    "resume_learner",
    "save_learner",
    "train_classifier",
    "unlabelled",
]
