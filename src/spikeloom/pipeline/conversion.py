"""
The main road: ingest → plan → fuse → spike → balance → compensate → control → evaluate → report, each phase an artifact.
"""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from spikeloom.errors import ConfigError, ResourceError
from spikeloom.ir import Batches, Context, Pass, Program, Progress, batches_of, run, silent, write_bytes, write_json
from spikeloom.pipeline.auto import Afforded, afforded, check_auto
from spikeloom.pipeline.bio import bio_calibrated, is_calibrated, said_of
from spikeloom.pipeline.calibration import calibration_samples, calibration_stream, stream_of
from spikeloom.pipeline.card import card
from spikeloom.pipeline.choice import choose
from spikeloom.pipeline.control import control_of
from spikeloom.pipeline.evaluation import evaluate
from spikeloom.pipeline.gated_noise import check_noise, with_noise
from spikeloom.pipeline.grounding import grounded_program, kept_whole
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.logic_gated import check_gated, logic_gated
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.metrics import audited_on, metrics_of
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.overlap import seen, with_seen
from spikeloom.pipeline.passes import check_compression, levels_of, nearest_passes, passes_of, resolution_of
from spikeloom.pipeline.phases import Phases
from spikeloom.pipeline.reference import towards
from spikeloom.pipeline.samples import Samples, largest
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.silence import audible
from spikeloom.pipeline.story import story_of
from spikeloom.pipeline.sweep import check_sweep, sweep
from spikeloom.pipeline.tasks import task_of
from spikeloom.report import AgentStory, LogicStory, Story, write, write_agent, write_logic
from spikeloom.report.agent_data import FORM as AGENT_FORM
from spikeloom.report.logic_data import FORM
from spikeloom.simulate import Counter, SpikingModel, beside_ann

COMPARED = ("accuracy", "agreement", "perplexity", "cosine", "synaptic_operations", "energy_pj")
"""What is told of a network as it was before it was refined."""


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
    margin = _margin(snn, stream, progress) if settings.early_exit else None
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


def check_folder(folder: Path) -> None:
    """The output folder is there. Raises ResourceError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}", found=error.strerror, todo="choose another --output-dir") from error


def _margin(snn: SpikingModel, stream: Batches, progress: Progress) -> float:
    progress("calibrating early exit", 0, 0)
    return snn.calibrate_exit(stream(), agreement=0.99)


def judged(
    snn: SpikingModel,
    dataset: str,
    settings: Settings,
    *,
    seconds: float | None,
    margin: float | None,
    progress: Progress,
    calibrated: Samples | None = None,
) -> dict[str, Any]:
    """Everything a person wants to know of a network on a data set: `metrics` and `story`, both JSON; of what it was `calibrated` on, how
    much judges it too."""
    program, steps, task = snn.program, settings.timesteps, task_of(snn.program.settings)
    data = task.samples(dataset, "test", program, settings, settings.samples)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress("evaluating", done, data.count)

    size = task.at_once(program, settings.batch_size, steps)
    found = evaluate(task.tally(Networks(snn, steps), data.classes, margin), data.read(size, None), tick)
    counter = Counter(program, steps)
    sample = [inputs for inputs, _ in data.read(min(size, 32), task.profiled)]
    for place, inputs in enumerate(sample):
        counter.add(inputs)
        progress("counting spikes", place + 1, len(sample))
    counts = beside_ann(counter.counts(), program, snn.ann, sample[0])
    audited, encoding = audited_on(program, largest(sample), steps), str(program.settings.get("encoding", settings.encoding))
    metrics = metrics_of(found, counts, snn, seconds=seconds, encoding=encoding, margin=margin, audited=audited)
    if (said := said_of(program)) is not None:
        metrics["bio_calibration"] = said
    story = story_of(found, counts, snn, metrics, sample, dataset, data.note).to_json()
    return with_seen({"metrics": metrics, "story": story}, 0 if calibrated is None else seen(calibrated, data))


def beside(found: Mapping[str, Any], before: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was `judged`, with what the same network was judged to be before it was refined, and `more` of what refining found."""
    was = {key: before["metrics"][key] for key in COMPARED if key in before["metrics"]}
    told = {"before": was, **(more or {})}
    story = {**found["story"], "before": _layers(before["story"]), "metrics": {**found["story"]["metrics"], **told}}
    return {"metrics": {**found["metrics"], **told}, "story": story}


def _layers(story: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every layer's fidelity what is shown beside another one."""
    return [{key: row[key] for key in ("node", "sqnr_db", "firing_rate")} for row in story["fidelity"]]


def with_choice(found: Mapping[str, Any], chosen: Afforded) -> dict[str, Any]:
    """What was `judged`, with why the network has the levels and steps it has."""
    metrics, told = {**found["metrics"], "chosen": chosen.told}, found["story"]
    shown = {**told["metrics"], "chosen": chosen.told}
    return {"metrics": metrics, "story": {**told, "metrics": shown, "front": [*chosen.front, *told["front"]]}}


def publish(folder: Path, found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Metrics, story, report and model card in `folder`, with the rows of a sweep where there was one."""
    story = Story.from_json({**found["story"], "sweep": rows})
    if rows:
        write_json(folder / "sweep.json", {"rows": rows})
    else:
        (folder / "sweep.json").unlink(missing_ok=True)
    write_json(folder / "metrics.json", found["metrics"])
    write_json(folder / "story.json", story.to_json())
    write(story, folder / "report.html")
    write_bytes(folder / "README.md", card(story).encode())


@within_memory()
def evaluate_folder(
    folder: Path,
    dataset: str | None = None,
    *,
    data_root: Path | None = None,
    timesteps: int | None = None,
    samples: int | None = None,
    batch_size: int = 64,
    length: int | None = None,
    early_exit: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The metrics of a saved network on a data set (by default the one it was converted for), beside its ANN and control.

    Raises ProgramError where `folder` holds no whole program, DataError where the data do not fit it.
    """
    snn = SpikingModel.open(folder)
    address = dataset or str(snn.program.settings.get("dataset", "digits"))
    steps = snn.timesteps if timesteps is None else timesteps
    settings = Settings(dataset=address, data_root=data_root, timesteps=steps, samples=samples, batch_size=batch_size, length=length)
    margin = None
    if early_exit:
        _check_exits(snn)
        margin = _margin(snn, calibration_stream(snn.program, address, settings, 256), progress)
    return judged(snn, address, settings, seconds=None, margin=margin, progress=progress)["metrics"]


def _check_exits(snn: SpikingModel) -> None:
    if not task_of(snn.program.settings).exits:
        raise ConfigError("evaluation.early_exit is for classifiers", found=snn.program.settings.get("task"), todo="leave out --early-exit")


def report_folder(folder: Path) -> Path:
    """`report.html` rendered again from `story.json`."""
    path = folder / "story.json"
    if not path.is_file():
        raise ResourceError(f"{folder} holds no story.json", todo="run `spikeloom convert`, `train` or `adapt` into it first")
    told = json.loads(path.read_text())
    if told.get("form") == FORM:
        write_logic(LogicStory.from_json(told), folder / "report.html")
    elif told.get("form") == AGENT_FORM:
        write_agent(AgentStory.from_json(told), folder / "report.html")
    else:
        write(Story.from_json(told), folder / "report.html")
    return folder / "report.html"
