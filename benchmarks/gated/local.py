"""
Learning without backpropagation on MNIST: one layer of gates under the local rule, from spikes and broadcast errors, in whole numbers.

Pixels are bits (brighter than half); trained on the first 50,000 pictures, judged once, at the end, on the last 10,000, by packed execution
of the frozen network. Beside the rule as it is: both layers learning (the readout leaves its feedback behind: feedback alignment), and the
readout alone on a random layer.
"""

import time

import torch

from gated.pictures import COMMAND, loaded
from harness.rows import Row
from spikeloom.logic import PackedNetwork, freeze
from spikeloom.logic.local import LocalRule, as_network, init, step

GATES, BATCH, EPOCHS = 2048, 250, 3
SLOWER_FROM = (1, 2)
"""Epochs, counted from 0, from which steps are half as large."""
RULES = {
    "gates learn": LocalRule(),
    "gates and readout learn": LocalRule(readout_shift=3),
    "readout alone learns": LocalRule(shift=None, readout_shift=3),
}


def learnt(rule: LocalRule, x: torch.Tensor, y: torch.Tensor, epochs: int, gates: int) -> tuple[torch.nn.Module, list[float]]:
    """A network, and the accuracy of its answers in each epoch, each given before it learnt from the picture."""
    generator = torch.Generator().manual_seed(0)
    state, online = init(x.shape[1], gates, 10, generator), list[float]()
    for epoch in range(epochs):
        now = rule.slower(sum(epoch >= start for start in SLOWER_FROM))
        right, began = 0, time.perf_counter()
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            state, answers = step(state, now, x[batch], y[batch], generator)
            right += int((answers == y[batch]).sum())
        online.append(round(100 * right / len(x), 2))
        print(f"  epoch {epoch + 1}: {online[-1]} % before learning, {time.perf_counter() - began:.0f} s", flush=True)
    return as_network(state, rule), online


def rows(epochs: int = EPOCHS, gates: int = GATES) -> list[Row]:
    """The rule, and what each half of it does alone."""
    (train, test), made = loaded("mnist"), list[Row]()
    x, y = train.x.flatten(1), train.y
    for name, rule in RULES.items():
        print(f"local rule, {name}", flush=True)
        began = time.process_time()
        network, online = learnt(rule, x, y, epochs, gates)
        seconds = round(time.process_time() - began)
        packed = PackedNetwork(freeze(network, test.x[:2]))
        value = round(100 * float((packed(test.x).argmax(1) == test.y).float().mean()), 2)
        print(f"  test {value} %, {seconds} s of a core", flush=True)
        facts = {"online": online, "seconds": seconds, "images": len(test), "gates": gates, "batch": BATCH}
        target, holds = ("at least 95", value >= 95) if name == "gates learn" else (None, None)
        made.append(Row(f"mnist, local rule, {name}: accuracy", value, "%", f"{COMMAND} local", facts, None, target, holds))
    return made
