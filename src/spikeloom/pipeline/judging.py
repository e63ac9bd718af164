"""
A network judged on a data set, beside its ANN and control: all that a person wants to know of it, as metrics and as a story.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeloom.errors import ConfigError
from spikeloom.ir import Batches, Progress, silent
from spikeloom.pipeline.auto import Afforded
from spikeloom.pipeline.bio import said_of
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.evaluation import evaluate
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.metrics import audited_on, metrics_of
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.overlap import seen, with_seen
from spikeloom.pipeline.samples import Samples, largest
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.story import story_of
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import Counter, SpikingModel, beside_ann

COMPARED = ("accuracy", "agreement", "perplexity", "cosine", "synaptic_operations", "energy_pj")
"""What is told of a network as it was before it was refined."""


def exit_margin(snn: SpikingModel, stream: Batches, progress: Progress) -> float:
    """How far an answer must lead so that samples may stop early: 99 % of them as they would end."""
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
        margin = exit_margin(snn, calibration_stream(snn.program, address, settings, 256), progress)
    return judged(snn, address, settings, seconds=None, margin=margin, progress=progress)["metrics"]


def _check_exits(snn: SpikingModel) -> None:
    if not task_of(snn.program.settings).exits:
        raise ConfigError("evaluation.early_exit is for classifiers", found=snn.program.settings.get("task"), todo="leave out --early-exit")
