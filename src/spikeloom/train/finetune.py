"""
Fine-tuning: a spiking network is trained as it runs, through its time steps, towards labels, towards the ANN, or both.

Spikes have surrogate gradients (`neuron.uniform`, `neuron.table`); what is trained keeps the form that the network needs (`latent`); memory
is bounded by running parts again (`through_time`); what is minimised says `objective`.

Weights come to lie on a grid where one is named: "ternary" for all layers, the first and the last included. Then the latent weights begin
at those that are there, each channel's scale at what is nearest to them, and gain and bias of every channel are set once, layer by layer,
so that its outputs have the mean and are as great as before (`onto_grid`).

Sources: Neftci et al. 2019 (surrogate gradients); Esser et al. 2020, LSQ (steps); Hinton et al. 2015 (distillation); Bengio et al. 2013.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import torch

from spikeloom.errors import ConfigError, InternalError, NumericError, ResourceError
from spikeloom.ir import WEIGHTS, Context, Dialect, Examples, Grid, Pass, Program, Redrawn, grid_named
from spikeloom.simulate import counterparts, populations
from spikeloom.train.checkpoint import load_checkpoint, save_checkpoint
from spikeloom.train.examples import checked, digest, digest_of, examples_for
from spikeloom.train.objective import OUTPUTS, Objective
from spikeloom.train.onto_grid import match_
from spikeloom.train.student import TRAINABLE, Student, latents_of
from spikeloom.train.through_time import Unrolled
from spikeloom.train.tuning import Progressed, Teacher, Tuning

PRECISIONS = ("float32", "bfloat16")


@final
@dataclass(frozen=True)
class FineTune(Pass):
    """Trains a spiking network for `timesteps` on the context's examples (without any: on its calibration data, from the ANN alone).

    `labels`, `distil` and `features` weigh what is asked for (`objective`), `outputs` says whether they are "logits" or "values"; `train`
    names what is trained, of `TRAINABLE`; `grid` puts the weights on one of `ir.WEIGHTS`, `group` inputs sharing a scale. Rates are
    relative to the size of what is trained: `weight_rate` for weights, `neuron_rate` for all else; they rise over `warmup` of all steps,
    then fall to 0. Without `patience` all `epochs` run, else training stops after so many without a better loss on what is
    held out. `precision` "bfloat16" is mixed: membranes and parameters stay float32. Memory: `chunk_steps` and `parts` as `Unrolled` has
    them; `compiled` by torch.compile.

    With `context.redrawn` the tensors it names are others at every step (those of another chip), and others still where the network is
    judged: what is trained has to do with all of them. The graph stays as it is.
    """

    timesteps: int = 1
    epochs: int = 10
    labels: float = 0.5
    distil: float = 0.5
    features: float = 0.0
    temperature: float = 2.0
    outputs: str = "logits"
    train: tuple[str, ...] = ("weights", "biases", "steps", "v0", "heights")
    grid: str | None = None
    group: int | None = None
    weight_rate: float = 0.001
    neuron_rate: float = 0.001
    warmup: float = 0.05
    patience: int | None = None
    precision: str = "float32"
    chunk_steps: int | None = None
    parts: int = 1
    compiled: bool = False

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"tensors", "neurons"})
    papers: ClassVar[tuple[str, ...]] = (
        "Neftci et al. 2019, arXiv:1901.09948",
        "Esser et al. 2020, arXiv:1902.08153",
        "Hinton et al. 2015, arXiv:1503.02531",
        "Chen et al. 2016, arXiv:1604.06174",
        "Zhu et al. 2016, arXiv:1612.01064 (ternary weights)",
        "Cramer et al. 2022, doi:10.1073/pnas.2109194119 (chips in the loop)",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        self.check()
        examples = examples_for(context)
        return tuned(self, program, context, examples)

    def check(self) -> None:
        """Raises ConfigError for options out of range."""
        checks: tuple[tuple[str, bool, str], ...] = (
            ("timesteps", self.timesteps >= 1, "1 or more"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("labels", self.labels >= 0, "0 or more"),
            ("distil", self.distil >= 0, "0 or more"),
            ("features", self.features >= 0, "0 or more"),
            ("distil", self.labels + self.distil + self.features > 0, "labels, distil or features above 0"),
            ("temperature", self.temperature > 0, "above 0"),
            ("outputs", self.outputs in OUTPUTS, ", ".join(OUTPUTS)),
            ("train", bool(self.train) and set(self.train) <= set(TRAINABLE), f"some of {', '.join(TRAINABLE)}"),
            ("grid", self.grid is None or self.grid in WEIGHTS, ", ".join(WEIGHTS)),
            ("weight_rate", 0 < self.weight_rate < 1, "above 0, below 1"),
            ("neuron_rate", 0 < self.neuron_rate < 1, "above 0, below 1"),
            ("warmup", 0 <= self.warmup < 1, "0 or more, below 1"),
            ("patience", self.patience is None or self.patience >= 1, "1 or more, or none"),
            ("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS)),
            ("chunk_steps", self.chunk_steps is None or self.chunk_steps >= 1, "1 or more, or none"),
            ("parts", self.parts >= 1, "1 or more"),
        )
        for key, holds, allowed in checks:
            if not holds:
                raise ConfigError(f"finetune.{key} cannot be used", found=getattr(self, key), allowed=allowed)

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return Objective(self.labels, self.distil, self.features, self.temperature, self.outputs)

    @property
    def onto(self) -> Grid | None:
        """The grid that weights are put on, if any."""
        return None if self.grid is None else grid_named(self.grid, self.group)

    def rates(self) -> dict[str, float]:
        """Peak learning rates by what is trained, relative to its size."""
        return dict.fromkeys(TRAINABLE, self.neuron_rate) | {"weights": self.weight_rate}


def tuned(options: FineTune, program: Program, context: Context, examples: Examples) -> Program:
    """The program, fine-tuned and recorded. UserErrors as the pass."""
    refuse_silent(program, examples, options.timesteps)
    tuning = prepared(options, program, context, examples)
    settings = {**asdict(options), "train": list(options.train), "steps": tuning.steps, "data": digest(examples)}
    settings["start"] = tuning.own.digest()
    if context.redrawn is not None:
        settings["redrawn"] = digest_of(context.redrawn(0).values())
    if context.checkpoint is not None and context.checkpoint.exists():
        tuning.progress = Progressed.from_json(load_checkpoint(context.checkpoint, tuning.own, tuning.optimiser, settings))

    def keep() -> None:
        if context.checkpoint is not None and tuning.accelerator.is_main_process:
            save_checkpoint(context.checkpoint, tuning.own, tuning.optimiser, tuning.progress, settings)

    tuning.run(keep, context.progress)
    done = tuning.progress
    told: dict[str, Any] = {"history": list(done.history), "start": done.start, "best_epoch": done.best_epoch, "steps": done.step}
    trained = {group: sum(latent.group == group for latent in tuning.own.latents) for group in options.train}
    return tuning.own.trained().recorded(options.record(**told, trained=trained))


def prepared(options: FineTune, program: Program, context: Context, examples: Examples) -> Tuning:
    """A tuning that has not begun. Raises ConfigError where the ANN is asked for and not there, ResourceError without Accelerate."""
    wanted = features_of(options, program, context.reference)
    accelerator = accelerator_on(context.device)
    latents = latents_of(program, options.train, options.onto)
    trained = {latent.name for latent in latents}
    moved = redrawn_names(context.redrawn, program, trained)
    memory: dict[str, Any] = {"steps": options.chunk_steps, "parts": options.parts, "compiled": options.compiled}
    network = Unrolled(program, options.timesteps, wanted=tuple(wanted), trained=trained | moved, **memory)
    student = Student(program, latents, network).moved(accelerator.device)
    optimiser = torch.optim.Adam(student.groups(options.rates()), lr=options.weight_rate, betas=(0.9, 0.99))
    batches = examples.steps if examples.steps is not None else sum(1 for _ in examples.epoch(0))
    teacher = None
    if context.reference is not None and (options.distil or options.features):
        teacher = Teacher(context.reference, wanted, accelerator.device)
    if options.onto is not None:
        inputs, _ = next(checked(examples.epoch(0), program, "the examples"))
        match_(student, tuple(value.to(accelerator.device) for value in inputs), options.timesteps)
    ready, adam = accelerator.prepare(student, optimiser)
    return Tuning(
        accelerator,
        ready,
        adam,
        teacher,
        examples,
        options.objective,
        epochs=options.epochs,
        steps=max(batches // accelerator.num_processes, 1),
        warmup=options.warmup,
        patience=options.patience,
        bfloat16=options.precision == "bfloat16",
        progress=Progressed(),
        redrawn=context.redrawn,
    )


def redrawn_names(redrawn: Redrawn | None, program: Program, trained: Collection[str]) -> set[str]:
    """The tensors that are others at every step. Raises ConfigError for one that is trained, InternalError for one that does not fit."""
    drawn = {} if redrawn is None else redrawn(0)
    both = sorted(set(drawn) & set(trained))
    if both:
        todo = "train others: without decay, say"
        raise ConfigError("what differs from chip to chip cannot be trained", found=", ".join(both[:3]), todo=todo)
    for name, tensor in drawn.items():
        if name not in program.tensors or program.tensors[name].shape != tensor.shape:
            raise InternalError(f"the tensor {name} is drawn anew but does not fit the program")
    return set(drawn)


def features_of(options: FineTune, program: Program, ann: Program | None) -> Mapping[str, str]:
    """The populations whose means are matched, each with the ANN's value it stands for. Raises ConfigError where the ANN is asked for and
    not there."""
    if ann is None and (options.distil or options.features):
        todo = "give the captured ANN, or set distil and features to 0 and learn from labels alone"
        raise ConfigError("fine-tuning towards the ANN needs the ANN", found="no reference", todo=todo)
    return counterparts(program, ann) if options.features and ann is not None else {}


def accelerator_on(device: str) -> Any:
    """Accelerate's accelerator for a device. Raises ResourceError where Accelerate is not installed."""
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        todo = "pip install 'spikeloom[train]'"
        raise ResourceError("fine-tuning needs the library 'accelerate'", found=str(error), todo=todo) from error
    return Accelerator(cpu=torch.device(device).type == "cpu")


def refuse_silent(program: Program, examples: Examples, timesteps: int) -> None:
    """Raises NumericError where no population sends a spike on the first batch: no gradient would find a way through the network."""
    names = tuple(node.name for node in populations(program))
    if not names:
        raise NumericError("there is nothing to fine-tune: the network has no populations", todo="convert a network that has activations")
    for inputs, _ in checked(examples.epoch(0), program, "the examples"):
        with torch.no_grad():
            _, means = Unrolled(program, timesteps, wanted=names)(program.tensors, inputs)
        if not any(bool(mean.any()) for mean in means.values()):
            todo = "calibrate the thresholds anew: they are far above what the populations receive"
            raise NumericError("no population of the network fires", found=f"{len(names)} silent populations", todo=todo)
        return
