"""
`SpikingModel`: a spiking program as an `nn.Module` with the ANN's signature and the Hugging Face hub's methods.

    snn(x)              resets itself, runs T steps folded into the batch, returns the mean over T on the ANN's scale
    snn.step(x, state)  one step at a time, state in and out
    snn.profile(x)      spikes, synaptic operations, energy
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from jaxtyping import Bool, Float
from torch import Tensor, fx, nn

from spikeloom.errors import ConfigError, DataError, ProgramError
from spikeloom.ir import Dialect, Program, calls, load, mixes_batch, save
from spikeloom.simulate.ann_counts import beside_ann
from spikeloom.simulate.audit import Audit, audit
from spikeloom.simulate.energy import EnergyRow, energy
from spikeloom.simulate.events import Counter, Counts
from spikeloom.simulate.execute import check_timesteps, decoded, executable, joined, primary, repeated
from spikeloom.simulate.fidelity import Fidelity, fidelity
from spikeloom.simulate.generation import writer_of, written
from spikeloom.simulate.packing import packed
from spikeloom.simulate.placement import DeviceMap, auto_map, check_map, placed
from spikeloom.simulate.stream import State, Stream
from spikeloom.simulate.structure import filled
from spikeloom.simulate.tokenizer import FOLDER, keep_tokenizer, located, moved_in

CACHED = 1 << 20
"""Numbers of a population over all steps that a CPU's cache keeps between one operation and the next: 4 MiB of float32."""
_DOWNLOAD_OPTIONS = ("revision", "cache_dir", "force_download", "token", "local_files_only")


@final
@dataclass(frozen=True)
class Profile:
    """What one inference costs: counts per layer and the energy table."""

    counts: Counts
    energy: tuple[EnergyRow, ...]


@final
class SpikingModel(
    nn.Module, ModelHubMixin, library_name="spikeloom", tags=["spiking-neural-network"], license="apache-2.0", repo_url="", docs_url=""
):
    """A calibrated spiking network, ready to run. `ann` and `control` are the programs it is judged against, where known."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "SpikingModel":
        return nn.Module.__new__(cls)  # not the mixin's: it would copy whole programs into a configuration that we keep ourselves

    def __init__(self, program: Program, *, timesteps: int = 1, ann: Program | None = None, control: Program | None = None) -> None:
        super().__init__()
        if program.dialect is not Dialect.SNN:
            raise ProgramError("not a spiking program", found=f"dialect {program.dialect}", allowed=Dialect.SNN, todo="convert it first")
        check_timesteps(timesteps)
        self.program, self.timesteps, self.ann, self.control = program, timesteps, ann, control
        self._bound: dict[int, fx.GraphModule] = {}
        self._plain: dict[int, fx.GraphModule] = {}
        self.device_map: DeviceMap | None = None
        self._mixed = any(map(mixes_batch, calls(program.graph)))
        self._widest = max((math.prod(node.meta["spec"][0][1:]) for node in calls(program.graph) if "spec" in node.meta), default=1)
        self._writers: dict[int, Any] = {}
        self._stream: Stream | None = None
        self.network = self.bound(timesteps)

    def bound(self, timesteps: int) -> fx.GraphModule:
        """The executable for T steps, made once and packed: inputs repeated to [T·B, …] in, raw outputs out. Not differentiable."""
        if timesteps not in self._bound:
            module, home = executable(self.program, timesteps), torch.device("cpu")
            self._bound[timesteps] = packed(module) if self.device_map is None else placed(module, self.device_map, home)
        return self._bound[timesteps]

    def dispatch(self, device_map: DeviceMap | Literal["auto"], max_memory: Mapping[int | str, int | str] | None = None) -> "SpikingModel":
        """The network spread over devices by an Accelerate device map (see `placement`), or "auto", as they have room; returns itself.

        Inputs and outputs stay on the CPU, and so do `generate` and `step`. Raises ConfigError for a map that places nothing,
        ResourceError for "auto" without Accelerate.
        """
        devices = auto_map(self.program, max_memory) if device_map == "auto" else dict(device_map)
        check_map(self.program, devices)
        self.device_map, self._bound = devices, {}
        self.network = self.bound(self.timesteps)
        return self

    def forward(
        self, *inputs: Tensor, attention_mask: Tensor | None = None, timesteps: int | None = None, early_exit: float | bool | None = None
    ) -> Any:
        """The ANN's outputs as the spiking network gives them: inputs [B, …], T steps from rest, mean over T.

        A language model takes its tokens [B, L] alone, and an `attention_mask` [B, L] of 1 for tokens and 0 for padding.

        `early_exit` is a margin, or True for the one that `calibrate_exit` found: each sample stops at the first step whose running
        answer leads by that margin. Raises DataError for inputs of another shape than the program's, ConfigError for True where none
        was found.
        """
        inputs = self._checked(inputs, attention_mask)
        steps = self.timesteps if timesteps is None else timesteps
        if early_exit is not None and early_exit is not False:
            return self.run_with_exit(*inputs, margin=self.exit_margin if early_exit is True else early_exit, timesteps=steps)[0]
        tracked = torch.is_grad_enabled() and any(value.requires_grad for value in inputs)
        module = self._differentiable(steps) if tracked else self.network if steps == self.timesteps else self.bound(steps)
        return joined([decoded(module(*(repeated(value, steps) for value in piece)), steps) for piece in self._pieces(inputs, steps)])

    def _differentiable(self, steps: int) -> fx.GraphModule:
        """The executable as it is, made once: gradients flow to its inputs."""
        if steps not in self._plain:
            self._plain[steps] = executable(self.program, steps)
        return self._plain[steps]

    def _pieces(self, inputs: tuple[Tensor, ...], steps: int) -> Sequence[tuple[Tensor, ...]]:
        """The batch as one, or, on a CPU at T > 1, in pieces whose T steps stay in its cache; never where samples depend on others."""
        size = max(CACHED // (steps * self._widest), 1)
        if (
            steps == 1
            or self._mixed
            or inputs[0].shape[0] <= size
            or inputs[0].device.type != "cpu"
            or not all(x.dynamic for x in self.program.inputs)
        ):
            return [inputs]
        return list(zip(*(value.split(size) for value in inputs), strict=True))

    def step(self, *inputs: Tensor, state: State | None = None) -> tuple[Any, State]:
        """One time step from `state` (None: rest): this step's output, whose mean over T steps is `snn(x)`, and the next state."""
        if self._stream is None:
            self._stream = Stream(self.program)
        return self._stream.advance(self._checked(inputs), state or State())

    def run_with_exit(self, *inputs: Tensor, margin: float, timesteps: int | None = None) -> tuple[Tensor, Tensor]:
        """Answers [B, classes] and the steps each sample took [B].

        After each step, samples whose best running output leads the second by `margin` or more are done; the others
        go on, up to T steps. Every step that runs is counted.
        """
        steps = self.timesteps if timesteps is None else timesteps
        check_timesteps(steps)
        answer, taken = torch.zeros(()), torch.full((inputs[0].shape[0],), steps)
        waiting = torch.ones(inputs[0].shape[0], dtype=torch.bool)
        for t, mean in enumerate(self._means(inputs, steps), start=1):
            answer = torch.where(waiting[:, None], mean, answer)
            lead = mean.topk(2, dim=1).values
            sure = waiting & (lead[:, 0] - lead[:, 1] >= margin)
            taken[sure] = t
            waiting &= ~sure
            if not bool(waiting.any()):
                break
        return answer, taken

    def calibrate_exit(self, batches: Iterable[tuple[Tensor, ...]], *, agreement: float = 0.99, timesteps: int | None = None) -> float:
        """The smallest margin at which answers stopped early agree with those after T steps on a share `agreement` of samples. The network
        keeps it, and is saved with it."""
        steps = self.timesteps if timesteps is None else timesteps
        rows = [self._leads(batch, steps) for batch in batches]
        if not rows:
            raise DataError("no samples to calibrate early exit on", found="an empty stream", todo="give at least one batch")
        margin = smallest_margin(torch.cat([lead for lead, _ in rows], 1), torch.cat([same for _, same in rows], 1), agreement)
        self.program = self.program.replaced(settings={**self.program.settings, "exit_margin": margin})
        return margin

    @property
    def exit_margin(self) -> float:
        """The margin that `calibrate_exit` found; ConfigError where it has not been run."""
        if "exit_margin" not in self.program.settings:
            todo = "convert with --early-exit, run `snn.calibrate_exit(batches)`, or give a margin: early_exit=0.5"
            raise ConfigError("this network has no margin for early exit", found="early_exit=True", todo=todo)
        return float(self.program.settings["exit_margin"])

    def _leads(self, inputs: tuple[Tensor, ...], steps: int) -> tuple[Tensor, Tensor]:
        """[T, B]: the running answer's lead at every step, and whether it is the final answer."""
        tops = [mean.topk(2, dim=1) for mean in self._means(inputs, steps)]
        leads = torch.stack([top.values[:, 0] - top.values[:, 1] for top in tops])
        return leads, torch.stack([top.indices[:, 0] == tops[-1].indices[:, 0] for top in tops])

    def _means(self, inputs: tuple[Tensor, ...], steps: int) -> Iterator[Tensor]:
        """The running mean of the answer [B, classes] after each step from rest, run as it is asked for."""
        state, total = None, torch.zeros(())
        for t in range(1, steps + 1):
            output, state = self.step(*inputs, state=state)
            total = total + primary(output)
            yield total / t

    def profile(self, *inputs: Tensor, timesteps: int | None = None) -> Profile:
        """Spikes, synaptic operations and energy of these inputs ([B, …]), per inference."""
        counter, checked = Counter(self.program, self.timesteps if timesteps is None else timesteps), self._checked(inputs)
        counter.add(checked)
        counts = beside_ann(counter.counts(), self.program, self.ann, checked)
        return Profile(counts, energy(counts))

    def audit(self, *inputs: Tensor) -> Audit:
        """Whether every operation runs on spikes, counted on every edge for these inputs ([B, …]) at T = 1; what stays floating."""
        return audit(self.program, *self._checked(inputs))

    def verify_fidelity(self, *inputs: Tensor, timesteps: int | None = None) -> tuple[Fidelity, ...]:
        """How close every population is to the ANN's activation it stands for, in execution order.

        Raises ProgramError where the ANN was not kept.
        """
        if self.ann is None:
            raise ProgramError("the ANN was not kept with this network", todo="convert again, or give the ANN to SpikingModel")
        return fidelity(self.program, self.ann, [self._checked(inputs)], self.timesteps if timesteps is None else timesteps)

    def generate(self, *args: Any, timesteps: int | None = None, **kwargs: Any) -> Any:
        """Texts written on, by transformers' `generate` with all of its options: `snn.generate(input_ids, max_new_tokens=50)`.

        Raises ProgramError for a network that is no causal language model, DataError for texts that it cannot go on from or that
        would be longer than it allows, ConfigError for options that `generate` refuses.
        """
        steps = self.timesteps if timesteps is None else timesteps
        if steps not in self._writers:
            self._writers[steps] = writer_of(self.program, steps)
        return written(self.program, self._writers[steps], *args, **kwargs)

    def _checked(self, inputs: tuple[Any, ...], attention_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        specs, strange = self.program.inputs, [value for value in (*inputs, attention_mask) if not isinstance(value, Tensor | None)]
        if strange:
            raise DataError(
                "a network's inputs are tensors", found=type(strange[0]).__name__, allowed=", ".join(spec.name for spec in specs)
            )
        inputs = filled(self.program, inputs, attention_mask)
        if len(inputs) != len(specs):
            raise DataError("wrong number of inputs", found=len(inputs), allowed=", ".join(spec.name for spec in specs))
        for value, spec in zip(inputs, specs, strict=True):
            if not spec.fits(tuple(value.shape)):
                allowed = ("batch" if spec.dynamic else spec.shape[0], *spec.sample)
                raise DataError(f"input '{spec.name}' has another shape than the model takes", found=tuple(value.shape), allowed=allowed)
        return inputs

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    def save(self, folder: Path) -> None:
        """The network in `folder`, with its ANN, control and tokenizer where they are known; an earlier one there is replaced only once
        the new one is whole. A folder of a language model may be moved: it names no place outside of itself that it reads from."""
        program = self.program.replaced(settings={**self.program.settings, "timesteps": self.timesteps})
        known = {"ann": self.ann, "control": self.control}
        extra = {name: moved_in(other, f"../{FOLDER}") for name, other in known.items() if other is not None}
        save(moved_in(program), folder, extra)
        keep_tokenizer(program, folder)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "SpikingModel":
        folder = Path(model_id)
        if not folder.is_dir():
            known = {key: options[key] for key in _DOWNLOAD_OPTIONS if key in options}
            folder = Path(snapshot_download(model_id, **known))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "SpikingModel":
        """The network saved in a folder, with its ANN and control where they are there. Executes nothing from it."""
        program = located(load(folder), folder)
        others: Mapping[str, Program | None] = {
            name: located(load(folder / name), folder / name) if (folder / name / "program.json").exists() else None
            for name in ("ann", "control")
        }
        return cls(program, timesteps=int(program.settings.get("timesteps", 1)), ann=others["ann"], control=others["control"])


def smallest_margin(leads: Float[Tensor, "t b"], right: Bool[Tensor, "t b"], agreement: float) -> float:
    """Of leads, and whether the answers are the last ones already, the smallest margin that keeps the agreement."""
    for margin in torch.cat([torch.zeros(1), leads.flatten().quantile(torch.linspace(0, 1, 201))]).tolist():
        out = leads >= margin
        out[-1] = True
        first = out.int().argmax(0)
        if float(right.gather(0, first[None]).float().mean()) >= agreement:
            return margin
    return float(leads.max()) + 1.0
