"""
Continual learning: a converted classifier goes on learning in the stream it is used in, by local rules, with few labels or none.

    step(images, labels) → predictions     first it answers, then it learns

Neurons keep their calibrated statistics (`homeostasis`), in each world they meet on their own (`contexts`), unless labels say that this
does not pay there (`trial`); the last layer learns from labels, shielded from what it knew (`readout`). Nothing is propagated back through
the network, and no gradient is taken. What it learnt is a spiking network again: `model()`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from spikeloom.errors import DataError, ProgramError
from spikeloom.ir import Labelled, Record, shaped, verify
from spikeloom.simulate import SpikingModel
from spikeloom.train.contexts import Place, front, left, marks, nearest, spread_of, visited
from spikeloom.train.examples import checked
from spikeloom.train.homeostasis import Trace, matched, pace, seen, steered, traced
from spikeloom.train.intrinsic import folded
from spikeloom.train.local_rules import PAPERS, Adaptable, LocalRules, adaptable, calibrated
from spikeloom.train.readout import DeltaRule, Memory, Readout, filtered, readout_of, taught, weights_in, with_constant
from spikeloom.train.trial import pays, weighed
from spikeloom.train.worlds import World, at_first

UNKNOWN = -1
"""The label of a sample whose class nobody told."""


@final
@dataclass
class Tally:
    """What was seen and done: samples, changes of a synapse, multiply-accumulates of the lateral layer, and the context that was there
    last."""

    samples: int = 0
    synapses: int = 0
    lateral_macs: int = 0
    latest: int = 0


@final
@dataclass
class ContinualLearner:
    """A network that learns as it answers. Made by `begin_learner`, or taken up by `resume_learner`; all of its state is in its fields."""

    start: SpikingModel
    network: Adaptable
    rules: LocalRules
    seed: int
    spread: Tensor
    meant: dict[str, Trace]
    readout: Readout
    worlds: list[World]
    memory: Memory
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._front = front(self.network.program, self.network.knobs[0])

    def step(self, images: Float[Tensor, "b ..."], labels: Int64[Tensor, " b"] | None = None) -> Int64[Tensor, " b"]:
        """Predictions for the images, made before anything is learnt from them. `labels` are classes, or -1 where nobody told (None: for
        none). Raises DataError for images or labels that cannot be."""
        self._check(images, labels)
        places = self._place(images)
        outputs, reaching = self._answer(images, places, adapt=True)
        self._try(images, labels, places)
        self._learn(reaching, labels, places)
        self.tally.samples += len(images)
        return outputs.argmax(1)

    def predict(self, images: Float[Tensor, "b ..."]) -> Int64[Tensor, " b"]:
        """Predictions, each sample in the context it belongs to; nothing is learnt."""
        self._check(images, None)
        return self._answer(images, self._nearest(self._marks(images)), adapt=False)[0].argmax(1)

    def model(self, context: int | None = None) -> SpikingModel:
        """The network as it is now, with the knobs of a context (the calm one is 0; by default the one that was there last)."""
        program, world = self.network.program, self.worlds[self.tally.latest if context is None else context]
        program = folded(program.replaced(tensors={**program.tensors, **self._tensors(world)}), self.network.knobs)
        told = {"samples": self.tally.samples, "labels": self.memory.labels, "contexts": len(self.worlds)}
        made = shaped(program).recorded(Record("ContinualLearner", self.rules.as_json(), told, PAPERS))
        verify(made)
        same = len(self.readout.weight) == len(self.start.program.tensors[self.network.weight])
        ann, control = (self.start.ann, self.start.control) if same else (None, None)
        return SpikingModel(made, timesteps=self.network.timesteps, ann=ann, control=control)

    def _tensors(self, world: World) -> dict[str, Tensor]:
        """What a context puts in the place of the program's tensors."""
        weight, bias = weights_in(self.readout)
        return {self.network.weight: weight, self.network.bias: bias, **(self._knobs(world) if pays(world.evidence) else {})}

    def _knobs(self, world: World) -> dict[str, Tensor]:
        """A context's knobs."""
        knobs = {knob.gain: world.gains[knob.population] for knob in self.network.knobs}
        return knobs | {knob.shift: world.shifts[knob.population] for knob in self.network.knobs}

    def _marks(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return marks(self._front(images), self.network.knobs[0])

    def _nearest(self, found: Tensor) -> Tensor:
        """The context of every sample by its marks."""
        return nearest(found, [world.place for world in self.worlds], self.spread)

    def _place(self, images: Tensor) -> Tensor:
        """The context of every sample, after a new one was begun where one was left. What is adapted moves with its samples."""
        if self.rules.contexts.most == 1:
            return torch.zeros(len(images), dtype=torch.int64)
        found = self._marks(images)
        chosen = self._nearest(found)
        for number in chosen.unique().tolist():
            self._visit(number, found[chosen == number])
        chosen = self._nearest(found)
        self.tally.latest = int(chosen.bincount(minlength=len(self.worlds)).argmax())
        return chosen

    def _visit(self, number: int, found: Tensor) -> None:
        world, options = self.worlds[number], self.rules.contexts
        world.place = visited(world.place, found, self._horizon, moves=number > 0)
        if len(self.worlds) < options.most and left(world.place, self.spread, options.vigilance):
            world.place = world.place._replace(recent=world.place.centre)
            mean = found.mean(0)
            self.worlds.append(self._begun(Place(mean, mean, len(found))))

    @property
    def _horizon(self) -> int:
        return 512 if self.rules.homeostasis is None else self.rules.homeostasis.horizon

    def _begun(self, place: Place) -> World:
        """A context as the calm one is, for samples that lie elsewhere."""
        calm = self.worlds[0]
        return World(place, calm.samples, dict(calm.traces), dict(calm.gains), dict(calm.shifts))

    def _answer(self, images: Tensor, places: Tensor, *, adapt: bool) -> tuple[Tensor, Tensor]:
        """Outputs and what reached the readout, each sample in its context; contexts that may adapt do."""
        outputs = images.new_empty(len(images), len(self.readout.weight))
        reaching = images.new_empty(len(images), self.readout.weight.shape[1] - 1)
        for place in places.unique().tolist():
            rows, world = places == place, self.worlds[place]
            given, means = self.network.run({**self.network.program.tensors, **self._tensors(world)}, images[rows])
            outputs[rows], reaching[rows] = given, means[self.network.reaches]
            if adapt and (place > 0 or self.rules.contexts.most == 1):
                self._settle(world, means, int(rows.sum()))
        return outputs, reaching

    def _settle(self, world: World, means: dict[str, Tensor], count: int) -> None:
        """Homeostasis in one context."""
        rule = self.rules.homeostasis
        if rule is None:
            world.samples += count
        if rule is None or not pays(world.evidence):
            return
        rate = pace(world.samples, count, rule.horizon)
        for knob in self.network.knobs:
            name, meant = knob.population, self.meant[knob.population]
            if rule.observes == "spikes":
                world.gains[name] = steered(world.gains[name], meant, seen(means[name], knob.over).mean, rate, rule.most)
                continue
            world.traces[name] = traced(world.traces[name], seen(means[knob.current], knob.over), rate)
            world.gains[name], world.shifts[name] = matched(meant, world.traces[name], rule.most)
        world.samples = min(world.samples + count, rule.horizon)

    def _adapts(self, number: int) -> bool:
        """Whether homeostasis is at work in a context."""
        return self.rules.homeostasis is not None and (number > 0 or self.rules.contexts.most == 1)

    def _try(self, images: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """What labels of classes that were known from the first say of the knobs of their contexts."""
        if labels is None:
            return
        told = (labels >= 0) & (labels < self.readout.grown_up)
        for number in places[told].unique().tolist():
            if not self._adapts(number) or not self._settled(number):
                continue
            rows, world = told & (places == number), self.worlds[number]
            held = self.network.program.tensors
            adapted, at_rest = (self.network.run({**held, **knobs}, images[rows])[0] for knobs in (self._knobs(world), {}))
            world.evidence = weighed(world.evidence, adapted, at_rest, labels[rows])

    def _settled(self, number: int) -> bool:
        """Whether homeostasis has come far enough in a context for the readout to learn there."""
        rule = self.rules.homeostasis
        if rule is None or not self._adapts(number):
            return True
        return self.worlds[number].samples >= rule.prior + rule.settle

    def _learn(self, reaching: Tensor, labels: Tensor | None, places: Tensor) -> None:
        """The readout, from every sample with a label in turn, and from kept ones after it."""
        rule = self.rules.readout
        if rule is None or labels is None:
            return
        x = with_constant(reaching, self.readout.constant)
        settled = torch.tensor([self._settled(number) for number in range(len(self.worlds))])
        for place in ((labels != UNKNOWN) & settled[places]).nonzero().flatten().tolist():
            self.readout, self.memory, shown = taught(self.readout, self.memory, x[place], int(labels[place]), rule, self.seed)
            self._count(torch.stack(shown))

    def _count(self, shown: Tensor) -> None:
        """What learning from these took."""
        lateral = self.readout.filter.ndim > 0
        reached = torch.stack([filtered(self.readout.filter, x) for x in shown]) if lateral else shown
        self.tally.synapses += len(self.readout.weight) * int((reached != 0).sum())
        self.tally.lateral_macs += shown.shape[1] * int((shown != 0).sum()) if lateral else 0

    def _check(self, images: Tensor, labels: Tensor | None) -> None:
        for _ in checked([((images,), labels)], self.network.program, "the images of the stream"):
            pass
        if labels is None:
            return
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            found = f"{labels.dtype} {tuple(labels.shape)}"
            raise DataError("labels do not fit the images", found=found, allowed=f"int64 [{len(images)}], -1 where unknown")
        rule = self.rules.readout
        most = max(len(self.readout.weight), (rule.classes or 0) if rule else 0)
        wrong = labels[(labels < UNKNOWN) | (labels >= most)]
        if len(wrong):
            todo = "set readout.classes to let the readout grow"
            raise DataError("a label is outside the range", found=int(wrong[0]), allowed=f"-1 (unknown) to {most - 1}", todo=todo)


def begin_learner(
    snn: SpikingModel,
    calibration: Iterable[Tensor],
    rules: LocalRules | None = None,
    *,
    reference: SpikingModel | None = None,
    seed: int = 0,
) -> ContinualLearner:
    """A learner that begins as `snn` is. `calibration` are batches of images [b, …] as the network was made for, without labels: what it
    does on them is what homeostasis comes back to and what the readout is shielded by.

    For a network on a chip, `reference` is the same network off the chip: its neurons then say what those on the chip should do.
    Raises ConfigError, DataError, UnsupportedError as `adaptable` and the rules do; ProgramError where the reference is another network.
    """
    rules = rules or LocalRules()
    rules.check()
    per = "channel" if rules.homeostasis is None else rules.homeostasis.per
    network = adaptable(snn.program, snn.timesteps, per)
    model = network if reference is None else adaptable(reference.program, reference.timesteps, per)
    if [knob.population for knob in model.knobs] != [knob.population for knob in network.knobs]:
        raise ProgramError("the reference is another network", found=f"{len(model.knobs)} populations", allowed=len(network.knobs))
    batches = [inputs for (inputs,), _ in checked((((each,), None) for each in calibration), network.program, "the calibration data")]
    found = calibrated(model, batches)
    spikes = rules.homeostasis is not None and rules.homeostasis.observes == "spikes"
    readout = _readout(network, found.reaching, rules)
    entrance = front(network.program, network.knobs[0])
    with torch.no_grad():
        calm = torch.cat([marks(entrance(inputs), network.knobs[0]) for inputs in batches])
    place = Place(calm.mean(0), calm.mean(0), 0)
    world = at_first(network, found.driven, place, 1 if rules.homeostasis is None else rules.homeostasis.prior)
    empty = Memory(torch.empty(0, readout.weight.shape[1]), torch.empty(0, dtype=torch.int64), 0)
    start = SpikingModel(network.program, timesteps=snn.timesteps, ann=snn.ann, control=snn.control)
    return ContinualLearner(start, network, rules, seed, spread_of(calm), found.sent if spikes else found.driven, readout, [world], empty)


def _readout(network: Adaptable, reaching: Tensor, rules: LocalRules) -> Readout:
    tensors = network.program.tensors
    return readout_of(tensors[network.weight], tensors[network.bias], reaching, rules.readout or DeltaRule(shielded=False))


def adapt_classifier(
    snn: SpikingModel,
    stream: Iterable[Labelled],
    calibration: Iterable[Tensor],
    rules: LocalRules | None = None,
    *,
    reference: SpikingModel | None = None,
    seed: int = 0,
) -> tuple[ContinualLearner, Int64[Tensor, " n"]]:
    """A learner that went through a stream of ((images,), labels or None), and its predictions, each made before it learnt from it."""
    learner = begin_learner(snn, calibration, rules, reference=reference, seed=seed)
    found = [learner.step(inputs[0], labels) for inputs, labels in stream]
    if not found:
        raise DataError("the stream is empty", found="no batches", todo="give at least one sample")
    return learner, torch.cat(found)
