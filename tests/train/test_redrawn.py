"""Tensors that are others at every step: each step has its own, judging has others still, and what cannot be is refused."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tests.calibrate.test_device import STEPS, spiking
from tests.compress.networks import prepared, samples
from torch import Tensor

from spikeloom.calibrate import Device
from spikeloom.errors import ConfigError, InternalError
from spikeloom.ir import Context, Examples, Labelled, Program, run
from spikeloom.pipeline.chips import kind_of, made_for_any, on_chip, random_chips
from spikeloom.simulate import SpikingModel, primary
from spikeloom.train import FineTune

CHIP = Device(decay=0.95, threshold_bits=6, threshold_mismatch=0.3, tau_mismatch=0.2, dead=0.02)
RECIPE = FineTune(timesteps=STEPS, epochs=2, labels=0.0, distil=1.0, outputs="values", train=("weights", "biases"), weight_rate=0.01)


def batches(count: int, seed: int) -> list[Labelled]:
    return [((part,), None) for part in samples("linear", count, seed).split(16)]


def context(count: int = 64) -> Context:
    taught, held = batches(count, 1), batches(32, 2)
    return Context(reference=prepared("linear"), examples=Examples(lambda _: taught, lambda: held, len(taught)))


def lost(program: Program, draws: range) -> float:
    """The mean relative error over several chips."""
    x = samples("linear", 64, 77)
    total = 0.0
    with torch.no_grad():
        meant = primary(prepared("linear").module()(x))
        for draw in draws:
            found = primary(SpikingModel(on_chip(program, dataclasses.replace(CHIP, draw=draw)), timesteps=STEPS)(x))
            total += float((found - meant).square().sum() / meant.square().sum())
    return total / len(draws)


def test_every_step_has_its_own_and_judging_has_others() -> None:
    plain = on_chip(spiking("linear"), kind_of(CHIP))
    asked = list[int]()

    def redrawn(number: int) -> Mapping[str, Tensor]:
        asked.append(number)
        return CHIP.drawn(plain, 1000 + number)

    run([RECIPE], on_chip(plain, CHIP), dataclasses.replace(context(), redrawn=redrawn))
    steps = [number for number in asked if number >= 0]
    assert steps[-8:] == list(range(8))  # before: what names there are, and the digest
    assert [number for number in asked if number < 0] == [-1, -2] * 3  # at the start and after each epoch


def test_the_same_chip_at_every_step_is_a_chip_in_the_loop() -> None:
    plain = spiking("linear")
    first = on_chip(plain, CHIP)
    alone = run([RECIPE], first, context())
    same = run([RECIPE], first, dataclasses.replace(context(), redrawn=lambda number: CHIP.drawn(plain)))
    assert all(torch.equal(alone.tensors[name], same.tensors[name]) for name in alone.tensors)
    other = run([RECIPE], first, dataclasses.replace(context(), redrawn=lambda number: CHIP.drawn(plain, 7)))
    assert not all(torch.equal(alone.tensors[name], other.tensors[name]) for name in alone.tensors)


def test_what_was_trained_on_many_chips_does_better_on_unseen_ones() -> None:
    program = spiking("linear")
    recipe = dataclasses.replace(RECIPE, epochs=10, train=("weights", "biases", "steps"))
    made = made_for_any(recipe, program, CHIP, context(256))
    plain = on_chip(program, kind_of(CHIP))
    assert lost(made, range(1, 9)) < 0.9 * lost(plain, range(1, 9))
    assert not any(name.endswith("device_gain") for name in made.tensors)
    assert made.records[-1].name == "FineTune"
    assert {name: t.shape for name, t in made.tensors.items()} == {name: t.shape for name, t in plain.tensors.items()}


def test_a_stopped_training_on_chips_goes_on_to_the_same_and_not_on_other_ones(tmp_path: Path) -> None:
    plain = on_chip(spiking("linear"), kind_of(CHIP))
    first, base = on_chip(plain, CHIP), dataclasses.replace(context(), redrawn=random_chips(CHIP, plain))
    whole = run([RECIPE], first, base)
    kept = dataclasses.replace(base, checkpoint=tmp_path / "c.safetensors")

    def stop(what: str, done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([RECIPE], first, dataclasses.replace(kept, progress=stop))
    others = random_chips(dataclasses.replace(CHIP, threshold_mismatch=0.1), plain)
    with pytest.raises(ConfigError, match=r"(?s)another training.*redrawn"):
        run([RECIPE], first, dataclasses.replace(kept, redrawn=others))
    again = run([RECIPE], first, kept)
    assert all(torch.equal(again.tensors[name], whole.tensors[name]) for name in whole.tensors)


def test_what_is_drawn_cannot_be_trained_and_has_to_fit() -> None:
    plain = spiking("linear")
    base = dataclasses.replace(context(), redrawn=random_chips(CHIP, plain))
    with pytest.raises(ConfigError, match="cannot be trained"):
        run([dataclasses.replace(RECIPE, train=("weights", "decay"))], on_chip(plain, CHIP), base)
    with pytest.raises(InternalError, match="does not fit"):
        run([RECIPE], plain, base)
