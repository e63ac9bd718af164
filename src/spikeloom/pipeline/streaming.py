"""
Learning on: a saved classifier meets a stream of pictures and goes on learning there by local rules; judged before and after.

    calm      unlabelled training pictures of the data set it was converted for: what homeostasis comes back to
    stream    training pictures of a data set, none of them calm ones, corrupted where asked, some with labels; each is answered, then
              learnt from
    judged    test pictures of the stream's kind, and of the first kind                                        `stream_metrics`

`learner/` in the output folder holds all that a stopped stream goes on from, to the same result:

    learner/asked.json            what was asked for
    learner/said.safetensors      the answers so far: at least those to all that was learnt from
    learner/start, learner.*      `train.save_learner`
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Int64
from safetensors.torch import load_file, save
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Progress, silent, write_bytes, write_json
from spikeloom.pipeline.chips import device_of, on_chip, refuse_second
from spikeloom.pipeline.conversion import Conversion
from spikeloom.pipeline.judging import beside, judged
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.pictures import PICTURES, preprocessing_of
from spikeloom.pipeline.publishing import check_folder, publish
from spikeloom.pipeline.refining import known
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.stream_metrics import compared, streamed
from spikeloom.pipeline.streams import Course, Data, Drift, data_of, pictures, with_few_labels
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel
from spikeloom.train import ContinualLearner, begin_learner, resume_learner, save_learner

CALM_AT_ONCE = 64


@final
@dataclasses.dataclass(frozen=True)
class Run:
    """One stream: what was asked, its pictures, how many classes the network knew and will know, and where the learner is kept."""

    settings: Settings
    course: Course
    data: Data
    outputs: int
    classes: int
    place: Path

    @property
    def address(self) -> str:
        """The stream's data set."""
        return self.course.stream or self.settings.dataset


@within_memory()
def learn_stream(folder: Path, settings: Settings, course: Course, *, progress: Progress = silent) -> Conversion:
    """The network saved in `folder` after the stream, in `settings.output_dir`, as any saved network, its metrics with a part "stream";
    where it met several contexts, the network of each lies under contexts/. `settings.dataset` is the first kind ("": what it was converted
    for); with `settings.chip` it is put on that chip first, and learns there.

    With `settings.resume` a stopped stream goes on, to the same result. Raises a UserError for whatever the user can mend.
    """
    course.check()
    snn = SpikingModel.open(folder)
    settings = known(snn, settings)
    outputs = outputs_of(snn)
    data = data_of(settings, course, preprocessing_of(snn.program.settings, settings.preprocessing))
    classes = classes_of(data, outputs, course)
    told = with_few_labels(torch.from_numpy(data.stream.labels), course.labels, settings.seed)
    run = Run(settings, course, data, outputs, classes, settings.output_dir / "learner")
    asked = asked_of(folder, settings, course)
    learner, said = taken_up(run.place, asked) if settings.resume else begun(run, snn, asked)
    began = time.perf_counter()
    said = through(run, learner, said, told, progress)
    seconds = time.perf_counter() - began
    saved = named(run, learner.model())
    before = learner.start
    ways = {"before": lambda x: before(x).argmax(1), "after": learner.predict, "saved": lambda x: saved(x).argmax(1)}
    found = compared(ways, data, dataclasses.replace(course.drift, seed=course.drift.seed + 1), outputs, progress)
    found = {**streamed(learner, said, data.stream, course), **found, "seconds": seconds}
    return Conversion(settings.output_dir, published(run, learner, saved, found, progress), saved)


def outputs_of(snn: SpikingModel) -> int:
    """How many classes a network knows. Raises ConfigError for one that classifies no pictures."""
    if task_of(snn.program.settings) is not PICTURES:
        found = snn.program.settings.get("task")
        raise ConfigError("only a classifier of pictures learns in a stream", found=found, todo="a policy does so by `spikeloom adapt`")
    given = snn(torch.zeros(1, *snn.program.inputs[0].shape[1:]))
    if not isinstance(given, Tensor) or given.ndim != 2:
        found = tuple(given.shape[1:]) if isinstance(given, Tensor) else type(given).__name__
        raise DataError("this model is no classifier", found=f"outputs {found}", allowed="[batch, classes]")
    return given.shape[1]


def classes_of(data: Data, outputs: int, course: Course) -> int:
    """How many classes the network knows in the end. DataError where the stream has more than it may learn, or none that are new."""
    there = data.stream.num_classes
    found = f"{outputs} outputs, {there} classes"
    if there > outputs and not course.new_classes:
        todo = "give --new-classes and --labels to learn the others, or another --dataset"
        raise DataError("the stream has classes that the network does not know", found=found, todo=todo)
    if course.new_classes and there <= outputs:
        raise DataError("there are no new classes in the stream", found=found, todo="leave out --new-classes")
    return max(there, outputs)


def begun(run: Run, snn: SpikingModel, asked: dict[str, Any]) -> tuple[ContinualLearner, Int64[Tensor, " n"]]:
    """A learner, saved and read back, so that one that goes on later has the very same tensors."""
    settings, program, reference = run.settings, snn.program, None
    if settings.chip is not None:
        refuse_second(program)
        program, reference = on_chip(program, device_of(settings.chip)), snn
    start = SpikingModel(program, timesteps=snn.timesteps, ann=snn.ann, control=snn.control)
    rules = run.course.rules(run.classes, chip=settings.chip is not None)
    calm = (images for images, _ in pictures(run.data.calm, Drift(), CALM_AT_ONCE))
    learner = begin_learner(start, calm, rules, reference=reference, seed=settings.seed)
    check_folder(settings.output_dir)
    shutil.rmtree(run.place, ignore_errors=True)
    save_learner(learner, run.place)
    write_json(run.place / "asked.json", asked)
    return resume_learner(run.place), torch.empty(0, dtype=torch.int64)


def taken_up(place: Path, asked: dict[str, Any]) -> tuple[ContinualLearner, Int64[Tensor, " n"]]:
    """The learner of a stopped stream, and its answers so far. ConfigError where there is none, or one of another stream."""
    path = place / "asked.json"
    if not path.is_file():
        raise ConfigError("there is nothing to go on from", found=f"no {path}", todo="begin anew, without --resume")
    earlier = json.loads(path.read_text())
    other = sorted(key for key in asked if asked[key] != earlier.get(key))
    if other:
        found, allowed = (", ".join(f"{key}={told.get(key)!r}" for key in other) for told in (asked, earlier))
        raise ConfigError(f"{place} holds another stream", found=found, allowed=allowed, todo="give the same options, or begin anew")
    learner, said = resume_learner(place), place / "said.safetensors"
    answers = load_file(said)["said"] if said.is_file() else torch.empty(0, dtype=torch.int64)
    return learner, answers[: learner.tally.samples]


def asked_of(folder: Path, settings: Settings, course: Course) -> dict[str, Any]:
    """All that the result depends on, as JSON holds it."""
    keys = ("dataset", "data_root", "calibration_samples", "samples", "batch_size", "seed", "preprocessing", "chip")
    told = {"network": folder, **{key: getattr(settings, key) for key in keys}, **dataclasses.asdict(course)}
    told.pop("every")
    return json.loads(json.dumps(told, default=str))


def through(
    run: Run, learner: ContinualLearner, said: Int64[Tensor, " k"], labels: Int64[Tensor, " n"], progress: Progress
) -> Int64[Tensor, " n"]:
    """All answers, each given before its picture was learnt from; the learner is at the stream's end, and saved."""
    parts, done, data, every = [said], learner.tally.samples, run.data.stream, run.course.every
    for images, _ in pictures(data, run.course.drift, run.settings.batch_size, done):
        before, done = done, done + len(images)
        parts.append(learner.step(images, labels[before:done]))
        progress("learning", done, len(data))
        if done // every > before // every or done == len(data):
            write_bytes(run.place / "said.safetensors", save({"said": torch.cat(parts)}))
            save_learner(learner, run.place)
    return torch.cat(parts)


def named(run: Run, snn: SpikingModel) -> SpikingModel:
    """The network, with what it is for now in its settings."""
    grown = {"dataset": run.address, "classes": run.classes} if run.course.new_classes else {}
    program = snn.program.replaced(settings={**snn.program.settings, **grown})
    return SpikingModel(program, timesteps=snn.timesteps, ann=snn.ann, control=snn.control)


def published(run: Run, learner: ContinualLearner, saved: SpikingModel, found: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The metrics, after network, contexts, metrics and report lie in the output folder. Costs and layers are those on pictures of the
    first kind; of a network that learnt new classes on test pictures of the stream's data set, uncorrupted."""
    grown, settings, folder = run.course.new_classes, run.settings, run.settings.output_dir
    address = run.course.tested or run.address if grown else settings.dataset
    now = judged(saved, address, settings, seconds=None, margin=None, progress=progress)
    before = now if grown else judged(learner.start, address, settings, seconds=None, margin=None, progress=progress)
    told = beside(now, before, {"stream": found})
    if grown:
        del told["metrics"]["before"], told["story"]["before"], told["story"]["metrics"]["before"]
    saved.save(folder)
    shutil.rmtree(folder / "contexts", ignore_errors=True)
    for number in range(len(learner.worlds)) if len(learner.worlds) > 1 else ():
        named(run, learner.model(number)).save(folder / "contexts" / str(number))
    publish(folder, told, [])
    return told["metrics"]
