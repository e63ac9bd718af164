"""
What drives an emitted network inside the simulator: cocotb runs this module, `test_rtl_cocotb` says in a file what with.

Both sides pause at random, by the file's seed. A word that is offered stays until it is taken, on our side and, as is asserted after
every cycle, on the network's (AMBA AXI4-Stream, ARM IHI 0051, 2.2.1).
"""

import json
import os
import random
from pathlib import Path
from typing import Any, final

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

Word = tuple[int, int]
"""(data, last)."""
PATIENCE = 20_000
"""Cycles without a word on either side after which the network is taken to be stuck."""
QUIET = 100
"""Cycles for which nothing may come once everything has been answered."""


def told() -> dict[str, Any]:
    """Ports by their role, `beats` and `answers` of every sample, `pauses` as shares of the cycles in which a word is offered and taken,
    and `resets` as shares of a sample's cycles."""
    return json.loads(Path(os.environ["SPIKELOOM_BENCH"]).read_text())


@final
class Bench:
    """The network with both its streams, and the random pauses."""

    def __init__(self, dut: Any, bench: dict[str, Any]) -> None:
        self.dut, self.random = dut, random.Random(bench["seed"])
        self.given, self.answered = ({role: getattr(dut, name) for role, name in bench[side].items()} for side in ("given", "answered"))
        self.offers, self.takes, self.cycles = 1.0, 1.0, 0
        self.waits: Word | None = None
        Clock(dut.clk, 10, "ns").start()
        self.silent()

    def silent(self) -> None:
        """Nothing is offered, nothing taken."""
        self.given["valid"].value = self.answered["ready"].value = 0
        self.given["data"].value = self.given["last"].value = 0

    async def reset(self, cycles: int) -> None:
        """So many cycles of reset, in which both sides are still; whatever waited to be taken is gone."""
        self.dut.rst.value = 1
        self.silent()
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.waits = None

    def came(self, taking: bool) -> Word | None:
        """The word that is taken at this edge, and what waits for the next one. What waited must still be there."""
        valid = int(self.answered["valid"].value)
        word = (int(self.answered["data"].value), int(self.answered["last"].value)) if valid else None
        assert self.waits is None or word == self.waits, f"{self.waits} was offered, not taken, and became {word}"
        self.waits = None if taking else word
        return word if taking else None

    async def run(self, beats: list[Word], wanted: int, cycles: int | None = None) -> list[Word]:
        """The words that come, `wanted` at most, while the beats go in one after the other; or those of so many cycles."""
        words, sent, offering, quiet = list[Word](), 0, False, 0
        self.cycles = 0
        while len(words) < wanted and (cycles is None or self.cycles < cycles):
            offering = offering or (sent < len(beats) and self.random.random() < self.offers)
            taking = self.random.random() < self.takes
            self.given["valid"].value, self.answered["ready"].value = int(offering), int(taking)
            if offering:
                self.given["data"].value, self.given["last"].value = beats[sent]
            await RisingEdge(self.dut.clk)
            accepted, word = offering and int(self.given["ready"].value) == 1, self.came(taking)
            words += [] if word is None else [word]
            sent, offering, self.cycles = sent + accepted, offering and not accepted, self.cycles + 1
            quiet = 0 if accepted or word else quiet + 1
            assert quiet < PATIENCE, f"stuck after {sent} of {len(beats)} beats and {len(words)} of {wanted} answers"
        self.silent()
        return words


def joined(samples: list[list[list[int]]]) -> list[Word]:
    """The words of samples, one after the other."""
    return [(data, last) for sample in samples for data, last in sample]


@cocotb.test()
async def samples_back_to_back(dut: Any) -> None:
    """Every answer is the reference's, and nothing comes behind the last."""
    bench = told()
    beats, answers, driven = joined(bench["beats"]), joined(bench["answers"]), Bench(dut, bench)
    await driven.reset(3)
    for driven.offers, driven.takes in bench["pauses"]:
        assert await driven.run(beats, len(answers)) == answers
        assert await driven.run([], 1, QUIET) == []


@cocotb.test()
async def reset_at_any_moment(dut: Any) -> None:
    """After a reset, whenever it comes and however short it is, the network answers as a new one does."""
    bench = told()
    beats, answers, driven = bench["beats"], bench["answers"], Bench(dut, bench)
    await driven.reset(1)
    for driven.offers, driven.takes in bench["pauses"][:2]:
        assert await driven.run(joined(beats[:1]), len(answers[0])) == joined(answers[:1])
        everything, moments = len(joined(answers)), [1 + int(part * driven.cycles) for part in bench["resets"]]
        for wanted, moment in [(1, None), *((everything, moment) for moment in moments)]:  # behind the first word, more wait to be taken
            before = await driven.run(joined(beats), wanted, moment)
            assert before == joined(answers)[: len(before)]
            await driven.reset(driven.random.randint(1, 3))
            assert await driven.run([], 1, QUIET) == [], "an answer from before the reset"
            chosen = driven.random.randrange(len(beats))
            assert await driven.run(joined(beats[chosen : chosen + 1]), len(answers[chosen])) == joined(answers[chosen : chosen + 1])
            await driven.reset(driven.random.randint(1, 3))
