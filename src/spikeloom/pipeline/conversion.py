"""
The main road: ingest → plan → fuse → spike → balance → compensate → control → evaluate → report, each phase an artifact.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from spikeloom.errors import ConfigError, ResourceError
from spikeloom.ir import Context, Pass, Program, Progress, batches_of, run, silent
from spikeloom.pipeline.auto import afforded, check_auto
from spikeloom.pipeline.bio import bio_calibrated, is_calibrated
from spikeloom.pipeline.calibration import calibration_samples, calibration_stream, stream_of
from spikeloom.pipeline.choice import choose
from spikeloom.pipeline.control import control_of
from spikeloom.pipeline.gated_noise import check_noise, with_noise
from spikeloom.pipeline.grounding import grounded_program, kept_whole
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.judging import beside, exit_margin, judged, with_choice
from spikeloom.pipeline.logic_gated import check_gated, logic_gated
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.passes import check_compression, levels_of, nearest_passes, passes_of, resolution_of
from spikeloom.pipeline.phases import Phases
from spikeloom.pipeline.publishing import check_folder, publish
from spikeloom.pipeline.reference import towards
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.silence import audible
from spikeloom.pipeline.sweep import check_sweep, sweep
from spikeloom.simulate import SpikingModel


@final
@dataclass(frozen=True)
class Conversion:
    """What a conversion left: the folder, its metrics, and the network."""

    folder: Path
    metrics: dict[str, Any]
    snn: SpikingModel


@within_memory()
def convert(settings: Settings, *, progress: Progress = silent) -> Conversion:
    """Run all phases into `settings.output_dir`: program, `ann/`, `control/`, metrics.json, story.json, report.html, README.md.

    With `settings.resume` finished phases are read back, and the result is that of an unbroken run. Raises a UserError
    for whatever the user can mend; files of an earlier conversion stay until the new ones are whole.
    """
    folder, settings = settings.output_dir, kept_whole(settings)
    check_device(settings.device)
    check_sweep(settings)
    check_auto(settings)
    check_compression(settings)
    check_gated(settings)
    check_noise(settings)
    if settings.chip is not None:
        raise ConfigError("a chip is for calibrate", found="chip.enable: true", todo="convert without, then `spikeloom calibrate --config`")
    check_folder(folder)
    phases = Phases(folder / "phases", resume=settings.resume)
    asked = _asked(settings)
    ann = phases.program("1_ann", asked, lambda: ingest(settings, phases.place("0_training"), progress))
    chosen, picked = None, dict[str, Any]()
    if settings.auto:
        chosen = afforded(settings, phases.place("1_ann") / "program", phases.place("1_choice"), candidate, progress)
        settings, picked = chosen.settings, {"levels": chosen.settings.levels, "timesteps": chosen.settings.timesteps}
    calibrated = calibration_samples(ann, settings.dataset, settings, settings.calibration_samples)
    stream = stream_of(calibrated, ann, settings)
    context = Context(stream, settings.device, settings.seed, progress, scratch=phases.folder)
    began = time.perf_counter()
    if settings.method == "logic_gated":
        spiking = phases.program("2_gated", {}, lambda: logic_gated(settings, ann, context, phases.place("2_teaching")))
    else:
        spiking = phases.program("2_spiking", picked, lambda: run(passes_of(settings, choose(settings, ann, context))[0], ann, context))
        spiking = phases.program("3_compensated", {}, lambda: compensated(settings, spiking, ann, context))
    plain = spiking
    if settings.bio_calibration:
        spiking = phases.program("3_calibrated", {}, lambda: bio_calibrated(settings, plain, ann, context))
    if settings.whole_numbers and settings.method != "logic_gated":
        spiking = phases.program("3_grounded", {}, lambda: grounded_program(spiking, settings.timesteps, stream))
    seconds = time.perf_counter() - began
    control = phases.program("4_control", {}, lambda: control_program(settings, ann, context, progress))
    snn = network_of(spiking, ann, control, settings)
    rows = sweep(settings, phases.place("1_ann") / "program", phases.place("5_sweep"), swept_network, progress) if settings.sweep else []
    margin = exit_margin(snn, stream, progress) if settings.early_exit else None
    found = judged(snn, settings.dataset, settings, seconds=seconds, margin=margin, progress=progress, calibrated=calibrated)
    if is_calibrated(spiking):
        before = network_of(plain, ann, control, settings)
        found = beside(found, judged(before, settings.dataset, settings, seconds=None, margin=None, progress=progress))
    if chosen is not None:
        found = with_choice(found, chosen)
    if settings.noise:
        found = with_noise(found, snn, settings, progress)
    snn.save(folder)
    publish(folder, found, rows)
    return Conversion(folder, found["metrics"], snn)


def network_of(spiking: Program, ann: Program, control: Program | None, settings: Settings) -> SpikingModel:
    """The network as it is saved, with the programs it is judged against."""
    facts = {**spiking.settings, "timesteps": settings.timesteps, "levels": levels_of(settings), "encoding": settings.encoding}
    return SpikingModel(spiking.replaced(settings=facts), timesteps=settings.timesteps, ann=ann, control=control)


def converted(settings: Settings, ann: Program, context: Context) -> Program:
    """The spiking program of a captured ANN."""
    first, _ = passes_of(settings, choose(settings, ann, context))
    made = compensated(settings, run(first, ann, context), ann, context)
    if settings.bio_calibration and settings.bio_when == "always":  # of many networks, only where it is asked for by name
        made = bio_calibrated(settings, made, ann, context)
    return grounded_program(made, settings.timesteps, batches_of(context)) if settings.whole_numbers else made


def compensated(settings: Settings, spiking: Program, ann: Program, context: Context) -> Program:
    """A program with thresholds after compensation. Raises NumericError where a population is silent on the calibration data."""
    plain = settings.compress == "none" and settings.sparsity == 0
    aimed = context if plain else towards(spiking, ann, context)
    return audible(run(passes_of(settings)[1], spiking, aimed), batches_of(context)(), resolution_of(settings))


def swept_network(ann: Program, settings: Settings, progress: Progress) -> SpikingModel:
    """The network that a conversion of a captured ANN gives, phases aside."""
    stream = calibration_stream(ann, settings.dataset, settings, settings.calibration_samples)
    context = Context(stream, settings.device, settings.seed, progress)
    spiking = converted(settings, ann, context)
    return network_of(spiking, ann, control_program(settings, ann, context, progress), settings)


def candidate(ann: Program, settings: Settings, progress: Progress) -> SpikingModel:
    """The same without a control."""
    stream = calibration_stream(ann, settings.dataset, settings, settings.calibration_samples)
    spiking = converted(settings, ann, Context(stream, settings.device, settings.seed, progress))
    return network_of(spiking, ann, None, settings)


def control_program(
    settings: Settings, ann: Program, context: Context, progress: Progress, weights: Sequence[Pass] | None = None
) -> Program:
    """The control for these settings: as many levels as the network has in all its steps together, weights of as many bits."""
    progress("quantising the control", 0, 0)
    if settings.method == "logic_gated":
        settings = dataclasses.replace(settings, compress="ternary")
    return control_of(
        ann,
        dataclasses.replace(context, progress=silent),
        levels=levels_of(settings),
        timesteps=resolution_of(settings),
        per_channel=settings.per_channel,
        percentile=settings.percentile,
        samples=256,
        weights=nearest_passes(settings) if weights is None else weights,
    )


def _asked(settings: Settings) -> dict[str, Any]:
    """What a conversion's artifacts depend on: everything but where they go and whether they are read back."""
    told = dataclasses.asdict(settings)
    for key in ("output_dir", "resume", "samples", "auto", "budget", "sweep", "sweep_levels", "sweep_timesteps", "sweep_jobs"):
        told.pop(key)
    return told


def check_device(device: str) -> None:
    """Raises ResourceError for a device that this machine's torch cannot use."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        found = str(error).splitlines()[0]
        raise ResourceError(f"the device {device!r} cannot be used here", found=found, todo="use --device cpu") from error
