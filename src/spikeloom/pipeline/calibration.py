"""
The samples that a program is calibrated on.
"""

from spikeloom.ir import Batches, Program
from spikeloom.pipeline.samples import Samples
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of


def calibration_stream(program: Program, dataset: str, settings: Settings, limit: int) -> Batches:
    """The inputs of the samples that a program is calibrated on: a fresh stream of batches each time it is called."""
    return stream_of(calibration_samples(program, dataset, settings, limit), program, settings)


def calibration_samples(program: Program, dataset: str, settings: Settings, limit: int) -> Samples:
    """The samples that a program is calibrated on."""
    return task_of(program.settings).samples(dataset, "calibration", program, settings, limit)


def stream_of(data: Samples, program: Program, settings: Settings) -> Batches:
    """Their inputs, in batches as large as the program's task takes them."""
    return data.stream(min(settings.batch_size, task_of(program.settings).at_once(program, settings.batch_size, 1)))
