"""
The library's own door: convert a module in memory, report on it, load it back.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom import datasets
from spikeloom.capture import reads_texts, resolve
from spikeloom.datasets.splits import Wanted
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Program, Progress, silent
from spikeloom.pipeline.conversion import control_program, converted
from spikeloom.pipeline.evaluation import Batch, evaluate
from spikeloom.pipeline.gated_noise import check_noise
from spikeloom.pipeline.grounding import kept_whole
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.metrics import audited_on, metrics_of
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.passes import levels_of
from spikeloom.pipeline.samples import first, largest
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.story import story_of
from spikeloom.pipeline.tasks import task_of
from spikeloom.pipeline.texts import structure
from spikeloom.report import write
from spikeloom.simulate import Counter, SpikingModel, beside_ann


@within_memory()
def convert_model(
    model: nn.Module | str, calibration: Any, config: Settings | None = None, *, example: Any = None, progress: Progress = silent
) -> SpikingModel:
    """A spiking model of any `nn.Module` (or address): captured at `example` (by default the first calibration batch),
    converted and calibrated; its ANN and control are kept with it.

    `calibration` is anything `datasets.as_batches` takes: a tensor [n, …], a data loader, a data set; for a model that reads texts
    anything `datasets.token_batches` takes: a `Text`, tokens [n, l]; or the address of a data set. `config` defaults to Scale-and-Fire
    with N = 15 levels at T = 1; with `whole_numbers` the network loses nothing when it is compiled. Raises a UserError for whatever the
    user can mend.
    """
    settings = kept_whole(config or Settings(timesteps=1))
    if settings.auto or settings.budget is not None:
        todo = "give levels and timesteps, or convert by `spikeloom convert --levels auto`, or spikeloom.pipeline.convert"
        raise ConfigError(
            "levels and steps are chosen for networks with an address", found=", ".join(settings.auto) or "a budget", todo=todo
        )
    check_noise(settings)
    calibration = readable(calibration, settings.calibration_samples)
    source = resolve(model, example=example if example is not None else example_of(model, calibration))
    facts = task_of(source.settings).facts(source.settings, settings) if isinstance(calibration, str) else {}
    ann = source.program(**facts)

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for inputs, _ in batches_of(ann, calibration, "calibration", settings, settings.calibration_samples):
            yield inputs

    context = Context(stream, settings.device, settings.seed, progress)
    spiking = converted(settings, ann, context)
    control = control_program(settings, ann, context, silent)
    facts = {**spiking.settings, "timesteps": settings.timesteps, "levels": levels_of(settings), "encoding": settings.encoding}
    return SpikingModel(spiking.replaced(settings=facts), timesteps=settings.timesteps, ann=ann, control=control)


def readable(data: Any, limit: int) -> Any:
    """Data that can be read again and again: what can be read only once is kept, at most `limit` samples of it."""
    if not isinstance(data, Iterator):
        return data
    first = next(data, None)
    if first is None:
        return []
    again = chain([first], data)
    if not datasets.holds_tokens([first]):
        return list(datasets.as_batches(again, limit))
    return [{"input_ids": tokens, "attention_mask": real} for tokens, real in datasets.token_batches(again, limit)]


def example_of(model: nn.Module | str, data: Any) -> Any:
    """The first two samples of data as a model's example; None where the model says itself what it takes."""
    if isinstance(data, str):
        if isinstance(model, str) or reads_texts(model):
            return None
        return next(datasets.batches(datasets.load(data, "calibration", limit=2), 2))[0]
    if datasets.holds_tokens(data):
        return None if isinstance(model, str) else next(datasets.token_batches(data, 2))[0]
    return next(iter(datasets.as_batches(data, 2, size=2)))


def batches_of(program: Program, data: Any, split: Wanted, settings: Settings, limit: int | None) -> Iterator[Batch]:
    """What a user gives as data, as batches that a program takes; of an address the samples that serve as `split`."""
    task = task_of(program.settings)
    size = min(settings.batch_size, task.at_once(program, settings.batch_size, settings.timesteps if split == "test" else 1))
    if isinstance(data, str):
        yield from task.samples(data, split, program, settings, limit).read(size, None)
    elif reads_tokens(program):
        for tokens, real in datasets.token_batches(data, limit, size):
            padded = bool((real != 1).any())
            yield structure(program, tokens, real if padded else None), real.to(torch.int64) if padded else None
    else:
        for inputs in datasets.as_batches(data, limit, sample_shape=program.inputs[0].shape[1:], size=size):
            yield (inputs,), None


def reads_tokens(program: Program) -> bool:
    """Whether a program's first input is whole numbers."""
    dtype: torch.dtype = getattr(torch, program.inputs[0].dtype)
    return not dtype.is_floating_point


def load_model(folder: str | Path) -> SpikingModel:
    """The network saved in a folder. Executes nothing from it; raises ProgramError where it is no whole program."""
    return SpikingModel.open(Path(folder))


@within_memory()
def report_model(snn: SpikingModel, path: str | Path, data: Any, *, samples: int = 512) -> Path:
    """Write the report of a network on `data` (inputs, or (inputs, labels) batches; of texts tokens; or an address) to `path`; returns
    the path.

    Without labels the page shows agreement with the ANN instead of accuracy.
    """
    task, program = task_of(snn.program.settings), snn.program
    settings = Settings(dataset=data if isinstance(data, str) else "the data given", timesteps=snn.timesteps, batch_size=32)
    kept = list(batches_of(program, data, "test", settings, samples))
    found = evaluate(task.tally(Networks(snn, snn.timesteps), None, None), kept, lambda count: None)
    counter, encoding = Counter(program, snn.timesteps), str(program.settings.get("encoding", "graded"))
    sample = [inputs for inputs, _ in first(kept, task.profiled)]
    for inputs in sample:
        counter.add(inputs)
    counts = beside_ann(counter.counts(), program, snn.ann, sample[0])
    audited = audited_on(program, largest(sample), snn.timesteps)
    metrics = metrics_of(found, counts, snn, seconds=None, encoding=encoding, margin=None, audited=audited)
    write(story_of(found, counts, snn, metrics, sample, settings.dataset, ""), Path(path))
    return Path(path)
