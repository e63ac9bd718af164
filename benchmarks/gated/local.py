"""
Learning without backpropagation on MNIST: one layer of gates under the local rule, from spikes and broadcast errors, in whole numbers.

Pixels are bits (brighter than half). Settings are chosen on the pictures 40,000 to 50,000 by a network that learnt from those before; with
what is chosen the first 50,000 are learnt from, and the last 10,000 judge once, by packed execution of the frozen network. Beside the rule:
both layers learning (the readout leaves its feedback behind: feedback alignment), the readout alone on a random layer, and the same network
by gradients.
"""

import time
from dataclasses import asdict, replace

import torch

from gated.pictures import COMMAND, Kept, loaded
from harness.rows import Row
from spikeloom.logic import PackedNetwork, freeze, fully_connected
from spikeloom.logic.local import LocalRule, as_network, init, step
from spikeloom.train import train_classifier

GATES, BATCH, EPOCHS = 2048, 250, 3
SLOWER_FROM = (1, 2)
"""Epochs, counted from 0, from which steps are half as large."""
CHOSEN_ON = 40_000
"""Pictures from here on choose the settings."""
CANDIDATES = {
    "as given": {},
    "margin 16": {"margin": 16},
    "margin 64": {"margin": 64},
    "window 4": {"window": 4},
    "window 16": {"window": 16},
    "shift 2": {"shift": 2},
    "shift 4": {"shift": 4},
}
"""Settings to choose from, each other than given in one thing."""
RULES = {
    "gates learn": {},
    "gates and readout learn": {"readout_shift": 3},
    "readout alone learns": {"shift": None, "readout_shift": 3},
}


def learnt(rule: LocalRule, x: torch.Tensor, y: torch.Tensor, epochs: int, gates: int) -> tuple[torch.nn.Module, list[float]]:
    """A network, and the accuracy of its answers in each epoch, each given before it learnt from the picture."""
    generator = torch.Generator().manual_seed(0)
    state, online = init(x.shape[1], gates, 10, generator), list[float]()
    for epoch in range(epochs):
        now = rule.slower(sum(epoch >= start for start in SLOWER_FROM))
        answered, began = 0, time.perf_counter()
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            state, answers = step(state, now, x[batch], y[batch], generator)
            answered += int((answers == y[batch]).sum())
        online.append(round(100 * answered / len(x), 2))
        print(f"  epoch {epoch + 1}: {online[-1]} % before learning, {time.perf_counter() - began:.0f} s", flush=True)
    return as_network(state, rule), online


def right(network: torch.nn.Module, test: Kept) -> float:
    """Right answers, %, of the network frozen and packed."""
    packed = PackedNetwork(freeze(network, test.x[:2]))
    return round(100 * float((packed(test.x).argmax(1) == test.y).float().mean()), 2)


def chosen(train: Kept, epochs: int, gates: int) -> tuple[LocalRule, dict[str, float]]:
    """The best of the candidates on pictures that the network has not learnt from, and what each of them reaches there."""
    x, y, kept = train.x[:CHOSEN_ON].flatten(1), train.y[:CHOSEN_ON], Kept(train.x[CHOSEN_ON:], train.y[CHOSEN_ON:])
    rules = {name: LocalRule(**told) for name, told in CANDIDATES.items()}
    found = {name: right(learnt(rule, x, y, epochs, gates)[0], kept) for name, rule in rules.items()}
    best = max(found, key=lambda name: found[name])
    print(f"chosen: {best} of {found}", flush=True)
    return rules[best], found


def rows(epochs: int = EPOCHS, gates: int = GATES) -> list[Row]:
    """The rule, what each half of it does alone, and gradients."""
    (train, test), made = loaded("mnist"), list[Row]()
    x, y = train.x.flatten(1), train.y
    given, choice = chosen(train, epochs, gates)
    for name, told in RULES.items():
        print(f"local rule, {name}", flush=True)
        rule, began = replace(given, **told), time.process_time()
        network, online = learnt(rule, x, y, epochs, gates)
        seconds, value = round(time.process_time() - began), right(network, test)
        print(f"  test {value} %, {seconds} s of a core", flush=True)
        facts = {"online": online, "seconds": seconds, "images": len(test), "gates": gates, "batch": BATCH, "rule": asdict(rule)}
        facts |= {"chosen of, on 40,000 to 50,000": choice} if name == "gates learn" else {}
        target, holds = ("at least 95", value >= 95) if name == "gates learn" else (None, None)
        made.append(Row(f"mnist, local rule, {name}: accuracy", value, "%", f"{COMMAND} local", facts, None, target, holds))
    return [*made, by_gradients(train, test, epochs, gates)]


def by_gradients(train: Kept, test: Kept, epochs: int, gates: int) -> Row:
    """The same network, batches and epochs, by backpropagation through surrogate gradients."""
    torch.manual_seed(0)
    began, options = time.process_time(), {"optimiser": "adamw", "schedule": "cosine", "weight_decay": 0.0}
    network = fully_connected(train.x[0].numel(), (gates,), 10)
    result = train_classifier(network, train, test, epochs=epochs, batch_size=BATCH, lr=0.015, **options)  # pyright: ignore[reportArgumentType]
    seconds, value = round(time.process_time() - began), right(result.model, test)
    print(f"  by gradients: test {value} %, {seconds} s of a core", flush=True)
    facts = {"epochs": epochs, "seconds": seconds, "images": len(test), "gates": gates, "batch": BATCH}
    return Row("mnist, the same network by gradients: accuracy", value, "%", f"{COMMAND} local", facts)
