"""
Deep Bio-Calibration: error compensation learning, then HSEO, on a network whose errors are compensated in closed form.
"""

import dataclasses
from collections.abc import Iterator

from torch import Tensor

from spikeloom.calibrate import LearnCompensation
from spikeloom.evolve import Evolve
from spikeloom.ir import Batches, Context, Program, run
from spikeloom.pipeline.reference import towards
from spikeloom.pipeline.samples import behind
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of


def bio_calibrated(settings: Settings, program: Program, ann: Program, context: Context) -> Program:
    """The program after both: neither ever leaves it worse on the samples it is judged by (a held-out part; those searched on)."""
    learnt = run([LearnCompensation(settings.timesteps)], program, towards(program, ann, context))
    fresh = fresh_stream(program, settings)
    evolve = Evolve(settings.timesteps, settings.population_size, settings.generations, samples=settings.calibration_samples)
    return run([evolve], learnt, dataclasses.replace(context, reference=ann, calibration=fresh))


def fresh_stream(program: Program, settings: Settings, *, labelled: bool = False) -> Batches:
    """Calibration samples behind those that compensation took; the first ones where there are no others. With labels as one tensor more."""
    seen = next((int(record.numbers["samples"]) for record in program.records if record.name == "Compensate"), 0)
    task, dataset = task_of(program.settings), known_data(program, settings)
    data = task.samples(dataset, "calibration", program, settings, seen + settings.calibration_samples)
    fresh = behind(data, seen) if data.count >= seen + settings.calibration_samples else data
    size = min(settings.batch_size, task.at_once(program, settings.batch_size, 1))

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for inputs, labels in fresh.read(size, None):
            yield (*inputs, labels) if labelled and labels is not None else inputs

    return stream


def known_data(program: Program, settings: Settings) -> str:
    """The data set asked for, or the one the network was converted for."""
    return settings.dataset or str(program.settings.get("dataset", "digits"))
