"""
Refining: a saved network made better or smaller, measured before and after on the same samples, saved whole or not at all.

    calibrate   error compensation learning, on a chip where one is described             `calibrate.LearnCompensation`, `Device`
    tune        HSEO over thresholds, time constants, leaks, potentials                   `evolve.Evolve`
    finetune    surrogate gradients through its time steps                               `train.FineTune`
    compress    converted again from its ANN, as its records tell, with other weights     `compress`, `passes.arranged`
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.calibrate import Compensate, Device, LearnCompensation
from spikeloom.errors import ConfigError, DataError, ProgramError
from spikeloom.evolve import Evolve
from spikeloom.ir import Context, Examples, Pass, Program, Progress, run, silent
from spikeloom.pipeline.bio import fresh_stream, known_data
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.chips import ANY, device_of, kind_of, made_for_any, on_chip, on_unseen, refuse_second
from spikeloom.pipeline.conversion import Conversion, control_program
from spikeloom.pipeline.judging import beside, judged
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.passes import arranged, check_compression, nearest_passes
from spikeloom.pipeline.pictures import PICTURES, label_offset, load_data
from spikeloom.pipeline.publishing import publish
from spikeloom.pipeline.reference import CONVERTING, CORRECTING, PREPARING, SPIKING, repeated_passes, towards
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.silence import audible
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel
from spikeloom.train import FineTune, examples_of

Work = Callable[[Program, Program, Context], Program]
"""(spiking program, captured ANN, context) → a better spiking program."""
More = Callable[[Program, Program, Settings], Mapping[str, Any]]
"""(the program before, after, settings) → further metrics."""


@within_memory()
def refine(
    folder: Path,
    settings: Settings,
    work: Work,
    progress: Progress = silent,
    *,
    weights: Sequence[Pass] | None = None,
    more: More = lambda before, after, settings: {},
) -> Conversion:
    """The network saved in `folder` after `work`, in `settings.output_dir`: program, ANN, control, metrics, report. Its metrics hold what
    it was `before`, on the same samples, and what is found `more`. With other `weights` (what rounds those of the control) the control is
    made anew.

    Raises ProgramError where the folder holds no whole network with its ANN; what lies in the folder stays until the new one is whole.
    """
    snn = SpikingModel.open(folder)
    if snn.ann is None:
        learnt = any(record.name == "LearnLogic" for record in snn.program.records)
        todo = "it was trained without one: `spikeloom train` again, for more epochs" if learnt else "convert the model again"
        raise ProgramError(f"{folder} holds no ANN to work towards", todo=todo)
    settings = known(snn, settings)
    stream = calibration_stream(snn.program, settings.dataset, settings, settings.calibration_samples)
    context = Context(stream, settings.device, settings.seed, progress, scratch=settings.output_dir)
    before = judged(snn, settings.dataset, settings, seconds=None, margin=None, progress=progress)
    after = audible(work(snn.program, snn.ann, context), stream(), snn.timesteps)
    control = snn.control if weights is None else control_program(settings, snn.ann, context, progress, weights)
    kept = {name: value for name, value in snn.program.settings.items() if name != "exit_margin"}  # that is of the network as it was
    refined = SpikingModel(after.replaced(settings=kept), timesteps=snn.timesteps, ann=snn.ann, control=control)
    found = judged(refined, settings.dataset, settings, seconds=None, margin=None, progress=progress)
    found = beside(found, before, more(snn.program, after, settings))
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

    if settings.chip is not None and settings.chip.get("draw") == ANY:
        todo = "give it a number, or make a network for any chip: `spikeloom finetune --config`"
        raise ConfigError("calibrate brings a network to one chip", found="chip.draw: any", todo=todo)

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


def finetune_folder(
    folder: Path,
    settings: Settings,
    tune: FineTune | None = None,
    *,
    training_samples: int | None = None,
    held_out: float = 0.1,
    progress: Progress = silent,
) -> Conversion:
    """Surrogate-gradient fine-tuning of a saved network on its training data: towards labels and the ANN where there are labels, else
    towards the ANN alone, on calibration data. Of the training samples it takes `training_samples` (all by default), and keeps a share
    `held_out` of them apart. With `settings.chip` it is trained on that chip; where its draw is "any" on another one at every step, and the
    metrics tell how it does on `chips` that it has not seen.

    A checkpoint lies in the output folder until the end; with `settings.resume` a stopped run goes on from it, to the same result.
    """
    if training_samples is not None:  # of data without labels too
        settings = dataclasses.replace(settings, calibration_samples=training_samples)
    checkpoint = settings.output_dir / "finetune.safetensors"
    if not settings.resume:
        checkpoint.unlink(missing_ok=True)

    def work(program: Program, ann: Program, context: Context) -> Program:
        asked = FineTune() if tune is None else tune
        examples = _examples(program, known_data(program, settings), settings, training_samples, held_out) if asked.labels > 0 else None
        given = dataclasses.replace(asked, timesteps=_steps_of(program), labels=asked.labels if examples else 0.0)
        if given.labels + given.distil + given.features == 0:
            raise DataError("there are no labels to learn from", found=known_data(program, settings), todo="give --distil above 0")
        aimed = dataclasses.replace(context, reference=ann, examples=examples, checkpoint=checkpoint)
        return on_chips(given, program, settings, aimed)

    made = refine(folder, settings, work, progress, more=unseen)
    checkpoint.unlink(missing_ok=True)
    return made


def on_chips(tune: FineTune, program: Program, settings: Settings, context: Context) -> Program:
    """The program fine-tuned on the chip that is described, on any of its kind, or on none."""
    if settings.chip is None:
        return run([tune], program, context)
    refuse_second(program)
    device = device_of(settings.chip)
    if settings.chip.get("draw") == ANY:
        return made_for_any(tune, program, device, context)
    return run([device, tune], program, context)


def unseen(before: Program, after: Program, settings: Settings) -> dict[str, Any]:
    """How a network that was made for any chip does on some, and did before."""
    if settings.chip is None or settings.chip.get("draw") != ANY:
        return {}
    device = device_of(settings.chip)
    was, now = (on_unseen(program, device, settings) for program in (on_chip(before, kind_of(device)), after))
    return {"chips": {"before": was, "after": now}}


def tune_folder(folder: Path, settings: Settings, evolve: Evolve | None = None, *, progress: Progress = silent) -> Conversion:
    """HSEO over the neurons of a saved network, towards its ANN, on samples that compensation has not seen where there are enough.

    The search's state lies in the output folder until the end; with `settings.resume` a stopped one goes on, to the same result.
    """
    scratch = settings.output_dir / "tune"
    if not settings.resume:
        shutil.rmtree(scratch, ignore_errors=True)

    def work(program: Program, ann: Program, context: Context) -> Program:
        asked = Evolve() if evolve is None else evolve
        given = dataclasses.replace(asked, timesteps=_steps_of(program), samples=settings.calibration_samples)
        fresh = fresh_stream(program, settings, labelled=given.objective == "task")
        aimed = dataclasses.replace(context, reference=ann, calibration=fresh, scratch=scratch)
        return run([given], program, aimed)

    made = refine(folder, settings, work, progress)
    shutil.rmtree(scratch, ignore_errors=True)
    return made


def _examples(program: Program, dataset: str, settings: Settings, limit: int | None, held_out: float) -> Examples | None:
    """Labelled training pictures, `held_out` of them kept apart; None where the task has no labels of classes."""
    task = task_of(program.settings)
    if task is not PICTURES:
        return None
    data = load_data(dataset, "train", program.settings, settings, limit)
    outputs = int(program.settings.get("classes") or data.num_classes)
    if not data.num_classes or label_offset(outputs, data.num_classes):
        return None
    augment = "cifar" if tuple(program.inputs[0].shape[1:]) == (3, 32, 32) else "none"
    kept = max(1, round(held_out * len(data)))
    return examples_of(data, batch_size=settings.batch_size, held_out=kept, seed=settings.seed, augment=augment)


def _sweep_of(folder: Path) -> Sequence[Mapping[str, Any]]:
    path = folder / "sweep.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []
