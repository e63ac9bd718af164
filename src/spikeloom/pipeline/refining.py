"""
Refining: a saved network made better or smaller, measured before and after on the same samples, saved whole or not at all.

    calibrate   error compensation learning                                              `calibrate.LearnCompensation`
    compress    converted again from its ANN, as its records tell, with other weights     `compress.Quantise`
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.calibrate import LearnCompensation
from spikeloom.compress import Quantise
from spikeloom.errors import ConfigError, ProgramError
from spikeloom.ir import Context, Pass, Program, Progress, run, silent
from spikeloom.pipeline.conversion import Conversion, calibration_stream, control_program, judged, publish
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.passes import nearest_passes
from spikeloom.pipeline.reference import CONVERTING, repeated_passes, towards
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
    """Error compensation learning, block by block, of a saved network."""
    return refine(folder, settings, lambda p, ann, c: in_turn([LearnCompensation(_steps_of(p), steps)])(p, ann, c), progress)


def _steps_of(program: Program) -> int:
    return int(program.settings.get("timesteps", 1))


def compress_folder(folder: Path, settings: Settings, *, progress: Progress = silent) -> Conversion:
    """A saved network with weights of other bits: converted again from its ANN by the passes in its records, the weights rounded before.

    What was learnt or evolved after its conversion is lost, and can be done again. Raises ConfigError where no weights are asked for.
    """
    if settings.compress == "none":
        raise ConfigError("compress needs to know what weights are kept in", found="none", allowed="8, 4, ternary, hybrid")

    def work(program: Program, ann: Program, context: Context) -> Program:
        quantise = Quantise(settings.compress, settings.group, settings.bits, settings.rounding)
        passes = [step for step in repeated_passes(program.records, CONVERTING) if not isinstance(step, Quantise)]
        place = next(place for place, step in enumerate(passes) if type(step).__name__ in ("Unfold", "Spike"))
        made = run([*passes[:place], quantise, *(step for step in passes[place:] if not _corrects(step))], ann, context)
        return run([step for step in passes if _corrects(step)], made, towards(made, ann, context))

    return refine(folder, settings, work, progress, weights=nearest_passes(settings))


def _corrects(step: Pass) -> bool:
    return type(step).__name__ == "Compensate"


def _sweep_of(folder: Path) -> Sequence[Mapping[str, Any]]:
    path = folder / "sweep.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []
