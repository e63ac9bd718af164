"""
Deep Bio-Calibration: error compensation learning, then HSEO, on a network whose errors are compensated in closed form.

Where it is asked for by name (`Settings.bio_when` "always") it is done. Else ("worthwhile") only where there is something to gain, and
where it takes minutes: closed forms leave little to find in a network that is near its ANN already, and what a search finds there on
some hundred samples does not hold on others (LOG.md).
"""

import dataclasses
import logging
from collections.abc import Iterator

from torch import Tensor

from spikeloom.calibrate import LearnCompensation
from spikeloom.evolve import Evolve
from spikeloom.ir import Batches, Context, Program, Record, run
from spikeloom.pipeline.reference import towards
from spikeloom.pipeline.samples import behind
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of

log = logging.getLogger(__name__)

NEAR = {"kl": 0.1, "mse": 0.02}
"""A network whose distance from its ANN (`evolve.objective`; nats, a share of the variance) is less is left as it is."""
MOST = 1e13
"""Multiply-accumulates of a search that is not asked for by name: some minutes of two cores."""
PROBED = 256
"""Samples on which the distance is measured."""
SKIPPED = "BioCalibration"
"""The record of a network that was left as it is."""


def bio_calibrated(settings: Settings, program: Program, ann: Program, context: Context) -> Program:
    """The program after both: neither leaves it worse on samples held out. Where it is not worthwhile, the program with a record of why."""
    aimed = dataclasses.replace(context, reference=ann, calibration=fresh_stream(program, settings))
    why = None if settings.bio_when == "always" else left_out(settings, program, aimed)
    if why is not None:
        log.info("Deep Bio-Calibration is left out: %s", why)
        return program.recorded(Record(SKIPPED, {"when": settings.bio_when}, {"left_out": why}))
    learnt = run([LearnCompensation(settings.timesteps)], program, towards(program, ann, context))
    return run([search_of(settings)], learnt, aimed)


def search_of(settings: Settings) -> Evolve:
    """The search that a conversion asks for."""
    return Evolve(settings.timesteps, settings.population_size, settings.generations, samples=settings.calibration_samples)


def left_out(settings: Settings, program: Program, aimed: Context) -> str | None:
    """Why a search is not worth its time; None where it is."""
    evaluations = settings.population_size * settings.generations
    macs = float(sum(row.macs for row in program.plan)) * settings.timesteps * settings.calibration_samples * evaluations
    if macs > MOST:
        return f"{evaluations} evaluations would take {macs:.1g} multiply-accumulates; --bio-calibration asks for it all the same"
    objective, start = dataclasses.replace(search_of(settings), samples=min(PROBED, settings.calibration_samples)).start(program, aimed)
    if start.divergence >= NEAR[objective]:
        return None
    unit = "nats" if objective == "kl" else "of the variance"
    return f"the network is within {start.divergence:.2g} {unit} of its ANN, less than {NEAR[objective]:g}"


def said_of(program: Program) -> dict[str, str] | None:
    """Why it, or a search on its own, left the network as it was: {"left_out": why} or {"discarded": why}; None where it did not."""
    last = next((record for record in reversed(program.records) if record.name in (SKIPPED, "Evolve")), None)
    if last is None:
        return None
    if last.name == SKIPPED:
        return {"left_out": str(last.numbers["left_out"])}
    judged = last.numbers.get("judged")
    if judged is None or judged["kept"]:
        return None
    return {"discarded": f"what HSEO found is no better on {judged['samples']} samples that it did not search on"}


def is_calibrated(program: Program) -> bool:
    """Whether Deep Bio-Calibration changed, or could have changed, a program."""
    return any(record.name == "Evolve" for record in program.records)


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
