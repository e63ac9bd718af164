"""Training an ordinary network (an ANN) where no weights can be had: `train_classifier`, with checkpoints that resume to the same end."""

from spikeloom.train.classifier import train_classifier
from spikeloom.train.progress import TrainProgress, TrainResult

__all__ = ["TrainProgress", "TrainResult", "train_classifier"]
