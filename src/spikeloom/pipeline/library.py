"""
The library's own door: convert a module in memory, report on it, load it back.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from spikeloom import datasets
from spikeloom.capture import resolve
from spikeloom.ir import Context, Progress, run, silent
from spikeloom.pipeline.conversion import control_program, levels_of, passes_of, resolution_of
from spikeloom.pipeline.evaluation import evaluate
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.metrics import metrics_of
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.silence import audible
from spikeloom.pipeline.story import story_of
from spikeloom.report import write
from spikeloom.simulate import Counter, SpikingModel


@within_memory()
def convert_model(
    model: nn.Module | str, calibration: Any, config: Settings | None = None, *, example: Any = None, progress: Progress = silent
) -> SpikingModel:
    """A spiking model of any `nn.Module` (or address): captured at `example` (by default the first calibration batch),
    converted and calibrated; its ANN and control are kept with it.

    `calibration` is anything `datasets.as_batches` takes: a tensor [n, …], a data loader, a data set. `config` defaults
    to Scale-and-Fire with N = 15 levels at T = 1. Raises a UserError for whatever the user can mend.
    """
    settings = config or Settings(timesteps=1)
    if isinstance(calibration, Iterator):  # it can be read only once, calibration reads several times
        calibration = list(datasets.as_batches(calibration, settings.calibration_samples))
    first_batch = next(iter(datasets.as_batches(calibration, 2, size=2)))
    source = resolve(model, example=example if example is not None else first_batch)
    ann = source.program()
    shape = ann.inputs[0].shape[1:]

    def stream() -> Iterator[tuple[Tensor, ...]]:
        for inputs in datasets.as_batches(calibration, settings.calibration_samples, sample_shape=shape, size=settings.batch_size):
            yield (inputs,)

    context = Context(stream, settings.device, settings.seed, progress)
    first, second = passes_of(settings)
    spiking = audible(run([*first, *second], ann, context), stream(), resolution_of(settings))
    control = control_program(settings, ann, context, silent)
    facts = {**spiking.settings, "timesteps": settings.timesteps, "levels": levels_of(settings), "encoding": settings.encoding}
    return SpikingModel(spiking.replaced(settings=facts), timesteps=settings.timesteps, ann=ann, control=control)


def load_model(folder: str | Path) -> SpikingModel:
    """The network saved in a folder. Executes nothing from it; raises ProgramError where it is no whole program."""
    return SpikingModel.open(Path(folder))


@within_memory()
def report_model(snn: SpikingModel, path: str | Path, data: Any, *, samples: int = 512) -> Path:
    """Write the report of a network on `data` (inputs, or (inputs, labels) batches) to `path`; returns the path.

    Without labels the page shows agreement with the ANN instead of accuracy.
    """
    shape = snn.program.inputs[0].shape[1:]
    kept = [((inputs,), None) for inputs in datasets.as_batches(data, samples, sample_shape=shape, size=32)]
    found = evaluate(snn, lambda: iter(kept), timesteps=snn.timesteps, classes=None, progress=lambda _: None)
    counter, encoding = Counter(snn.program, snn.timesteps), str(snn.program.settings.get("encoding", "graded"))
    for inputs, _ in kept[:4]:
        counter.add(inputs)
    counts = counter.counts()
    metrics = metrics_of(found, counts, snn, None, encoding, None)
    story = story_of(found, counts, snn, metrics, [inputs for inputs, _ in kept[:4]], "the data given", found.samples)
    write(story, Path(path))
    return Path(path)
