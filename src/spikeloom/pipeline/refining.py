"""
Refining: a saved network made better or smaller, measured before and after on the same samples, saved whole or not at all.

    calibrate   error compensation learning, on a chip where one is described             `calibrate.LearnCompensation`, `Device`
    compress    converted again from its ANN, as its records tell, with other weights     `compress`, `passes.arranged`
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.calibrate import Compensate, Device, LearnCompensation
from spikeloom.errors import ConfigError, ProgramError
from spikeloom.ir import Context, Pass, Program, Progress, run, silent
from spikeloom.pipeline.conversion import Conversion, calibration_stream, control_program, judged, publish
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.passes import arranged, check_compression, nearest_passes
from spikeloom.pipeline.reference import CONVERTING, CORRECTING, PREPARING, SPIKING, repeated_passes, towards
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.silence import audible
from spikeloom.simulate import SpikingModel

Work = Callable[[Program, Program, Context], Program]
"""(spiking program, captured ANN, context) → a better spiking program."""
COMPARED = ("accuracy", "agreement", "perplexity", "cosine", "synaptic_operations", "energy_pj")
"""What is told of a network as it was before."""


@within_memory()
def refine(
    folder: Path, settings: Settings, work: Work, progress: Progress = silent, *, weights: Sequence[Pass] | None = None
) -> Conversion:
    """The network saved in `folder` after `work`, in `settings.output_dir`: program, ANN, control, metrics, report. Its metrics hold what
    it was `before`, on the same samples. With other `weights` (what rounds those of the control) the control is made anew.

    Raises ProgramError where the folder holds no whole network with its ANN; what lies in the folder stays until the new one is whole.
    """
    snn = SpikingModel.open(folder)
    if snn.ann is None:
        raise ProgramError(f"{folder} holds no ANN to work towards", todo="convert the model again")
    settings = known(snn, settings)
    stream = calibration_stream(snn.program, settings.dataset, settings, settings.calibration_samples)
    context = Context(stream, settings.device, settings.seed, progress, scratch=settings.output_dir)
    before = judged(snn, settings.dataset, settings, seconds=None, margin=None, progress=progress)["metrics"]
    after = audible(work(snn.program, snn.ann, context), stream(), snn.timesteps)
    control = snn.control if weights is None else control_program(settings, snn.ann, context, progress, weights)
    refined = SpikingModel(after.replaced(settings=snn.program.settings), timesteps=snn.timesteps, ann=snn.ann, control=control)
    found = judged(refined, settings.dataset, settings, seconds=None, margin=None, progress=progress)
    found["metrics"]["before"] = {key: before[key] for key in COMPARED if key in before}
    refined.save(settings.output_dir)
    publish(settings.output_dir, found, _sweep_of(folder))
    return Conversion(settings.output_dir, found["metrics"], refined)


def known(snn: SpikingModel, settings: Settings) -> Settings:
    """The settings with what the network knows itself: its data set, where none was asked for, T, N, its method and encoding."""
    facts = snn.program.settings
    spike = next((record.options for record in snn.program.records if record.name == "Spike"), dict[str, Any]())
    return dataclasses.replace(
        settings,
        dataset=settings.dataset or str(facts.get("dataset", "digits")),
        source=str(facts.get("source", "")),
        timesteps=snn.timesteps,
        levels=int(facts.get("levels", 1)),
        method=str(spike.get("method", settings.method)),
        per_channel=bool(spike.get("per_channel", settings.per_channel)),
        encoding=str(facts.get("encoding", settings.encoding)),
    )


def in_turn(passes: Sequence[Pass]) -> Work:
    """The passes, towards the ANN."""
    return lambda program, ann, context: run(passes, program, towards(program, ann, context))


def calibrate_folder(folder: Path, settings: Settings, *, steps: int = 150, progress: Progress = silent) -> Conversion:
    """Error compensation learning, block by block, of a saved network; with `settings.chip` on that chip, which is put under it first and
    what it costs made good in closed form."""

    def work(program: Program, ann: Program, context: Context) -> Program:
        timesteps = _steps_of(program)
        chip = [] if settings.chip is None else [Device(**settings.chip), Compensate(timesteps)]
        return in_turn([*chip, LearnCompensation(timesteps, steps)])(program, ann, context)

    return refine(folder, settings, work, progress)


def _steps_of(program: Program) -> int:
    return int(program.settings.get("timesteps", 1))


def compress_folder(folder: Path, settings: Settings, *, progress: Progress = silent) -> Conversion:
    """A saved network with weights of other bits, or fewer connections: converted again from its ANN by the passes in its records.

    What was learnt or evolved after its conversion is lost, and can be done again. Raises ConfigError where nothing is asked for, or what
    cannot be.
    """
    if settings.compress == "none" and settings.sparsity == 0:
        raise ConfigError("there is nothing to compress", found="weights none, sparsity 0", todo="give --weights or --sparsity")
    check_compression(settings)

    def work(program: Program, ann: Program, context: Context) -> Program:
        road = repeated_passes(program.records, CONVERTING)
        parts = [[step for step in road if type(step).__name__ in names] for names in (PREPARING, SPIKING, CORRECTING)]
        first, second = arranged(parts[0], parts[1], parts[2], settings)
        made = run(first, ann, context)
        return run(second, made, towards(made, ann, context))

    return refine(folder, settings, work, progress, weights=nearest_passes(settings))


def _sweep_of(folder: Path) -> Sequence[Mapping[str, Any]]:
    path = folder / "sweep.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []
