"""
`Evolve`: HSEO as a pass over a calibrated spiking program. It changes neuron parameters and nothing else.

The samples it is given should not be those that compensation was solved on: weights fit their errors already.

Source: `search` says what it is made of.
"""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from spikeloom.errors import ConfigError
from spikeloom.evolve.bench import Bench
from spikeloom.evolve.executor import check_executor, opened
from spikeloom.evolve.front import Point, budget_of, pick
from spikeloom.evolve.limits import Limits
from spikeloom.evolve.objective import Outcome, better
from spikeloom.evolve.search import Plan, Search
from spikeloom.evolve.setting import Chunk, apart, chunks_of, set_up
from spikeloom.evolve.space import PARAMETERS, Genes
from spikeloom.evolve.state import FILE, key_of, read_state, write_state
from spikeloom.ir import Context, Dialect, Pass, Program, shaped


@final
@dataclass(frozen=True)
class Evolve(Pass):
    """HSEO. `timesteps` is the T the network is meant to run for, `groups` how many groups of channels of a population have genes of
    their own, `parameters` which are searched (`space.PARAMETERS`), `weight` λ of the energy in `encoding`; `objective` is kl, mse, task,
    or auto: kl for classifiers and language models, else mse. `threshold_bits` to `max_rate` are what the hardware allows (`limits`).

    With a `front` many networks are kept, and `budget` (`front.pick`) names the one that is given back; without a budget the nearest to
    the ANN. At most `samples` calibration samples are used, `batch_size` at once. On a share `held_out` of them nothing is searched: unless
    a front was asked for, what was found is given back only where it is better there too, else the program as it was.

    `workers` of an `executor` evaluate candidates: the answer does not depend on them. With `context.scratch` a search that was stopped
    goes on where it was, to the same answer.

    Raises ConfigError for settings that contradict each other, DataError for missing labels, NumericError for a network that never
    fires, ResourceError where a disk is full or workers go on dying.
    """

    timesteps: int = 1
    population_size: int = 20
    generations: int = 10
    groups: int = 4
    parameters: tuple[str, ...] = PARAMETERS
    objective: str = "auto"
    weight: float = 0.0
    encoding: str = "graded"
    front: bool = False
    budget: str | None = None
    polish: float = 0.6
    rate: float = 0.1
    threshold_bits: int | None = None
    leak_bits: int | None = None
    decay: float | None = None
    min_rate: float | None = None
    max_rate: float | None = None
    samples: int = 512
    held_out: float = 0.2
    batch_size: int = 64
    executor: str = "loky"
    workers: int = 1

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.SNN})
    touches: ClassVar[frozenset[str]] = frozenset({"neurons"})
    papers: ClassVar[tuple[str, ...]] = (
        "Hansen 2016, arXiv:1604.00772 (CMA-ES)",
        "Hansen 2011, arXiv:1110.4181 (injected candidates)",
        "Neftci et al. 2019, arXiv:1901.09948 (surrogate gradients)",
        "Esser et al. 2020, arXiv:1902.08153 (gradient of the step)",
        "Deb et al. 2002, IEEE TEVC 6(2) (NSGA-II)",
    )

    def __call__(self, program: Program, context: Context) -> Program:
        """The program with the parameters that were found; the record holds the history, the start, the best, and the front."""
        plan, limits = self.checked(context)
        with _folder(context) as folder, opened(self.executor, self.workers) as executor:
            searched, judging = apart(chunks_of(context, program, self.samples, self.batch_size), 0.0 if self.front else self.held_out)
            bench = self.bench(folder / "bench", program, context, limits, searched)
            search = Search(bench, plan, executor)
            key, place = key_of(bench.folder, asdict(plan)), folder / FILE
            written = read_state(place, key)
            if written is not None:
                search.restore(written)
            search.run(partial(write_state, place, key), context.progress)
            judge = self.bench(folder / "judge", program, context, limits, judging) if judging else None
            genes, judged = self._kept(search, judge)
        found = shaped(bench.space.applied(program, genes))
        return found.recorded(self.record(**_numbers(search, genes), judged=judged))

    def checked(self, context: Context) -> tuple[Plan, Limits]:
        """The search's plan and limits. Raises ConfigError before any work."""
        check_executor(self.executor, self.workers)
        if self.samples < 1 or self.batch_size < 1:
            raise ConfigError("samples and batch_size are out of range", found=(self.samples, self.batch_size), allowed="1 or more")
        if not 0.0 <= self.held_out < 1.0:
            raise ConfigError("held_out is out of range", found=self.held_out, allowed="0 up to 1")
        if self.budget is not None and not self.front:
            raise ConfigError("a budget chooses from a front", found=f"budget {self.budget!r}, no front", todo="ask for a front too")
        if self.budget is not None:
            budget_of(self.budget)
        plan = Plan(self.population_size, self.generations, self.weight, self.front, self.polish, self.rate, context.seed)
        return plan, Limits(self.threshold_bits, self.leak_bits, self.decay, self.min_rate, self.max_rate)

    def start(self, program: Program, context: Context) -> tuple[str, Outcome]:
        """The objective, and what the program gives as it is, on all samples."""
        with tempfile.TemporaryDirectory(prefix="spikeloom-evolve-") as folder:
            bench = self.bench(Path(folder), program, context, self.checked(context)[1])
            return bench.objective, bench.outcome(np.zeros(bench.space.size))

    def bench(self, folder: Path, program: Program, context: Context, limits: Limits, chunks: Sequence[Chunk] | None = None) -> Bench:
        """The bench of this search, in a folder that every worker sees; on all samples, or on these."""
        return set_up(
            folder,
            program,
            context,
            chunks_of(context, program, self.samples, self.batch_size) if chunks is None else chunks,
            timesteps=self.timesteps,
            limits=limits,
            groups=self.groups,
            parameters=self.parameters,
            objective=self.objective,
            encoding=self.encoding,
        )

    def _kept(self, search: Search, judge: Bench | None) -> tuple[Genes, dict[str, Any] | None]:
        """The genes to give back, and what judging them found."""
        genes = self._chosen(search)
        if judge is None:
            return genes, None
        zero = np.zeros_like(genes)
        start, best = judge.outcome(zero), judge.outcome(genes)
        kept = better(best, start, self.weight, judge.start_pj, 0.0)
        told = {"samples": judge.samples, "start": start.to_json(), "best": best.to_json(), "kept": kept}
        return (genes if kept else zero), told

    def _chosen(self, search: Search) -> Genes:
        return search.best.genes if self.budget is None else np.array(pick(search.front, self.budget).genes)


def _numbers(search: Search, genes: Genes) -> dict[str, Any]:
    """What the record says."""
    bench, best = search.bench, search.best.outcome
    return {
        "objective": bench.objective,
        "genes": len(genes),
        "samples": bench.samples,
        "evaluations": search.evaluations,
        "start": search.start.to_json(),
        "best": best.to_json(),
        "feasible": best.feasible,
        "history": search.history,
        "front": [_told(point, genes) for point in search.front],
    }


def _told(point: Point, genes: Genes) -> dict[str, Any]:
    """A point of the front, without its genes, and whether it is the one that was picked."""
    told = {key: value for key, value in point.to_json().items() if key != "genes"}
    return {**told, "picked": point.genes == tuple(genes.tolist())}


@contextmanager
def _folder(context: Context) -> Generator[Path]:
    """Where the search works: in the context's scratch, where it stays for a search that goes on, else for the time of the block."""
    if context.scratch is not None:
        yield context.scratch / f"evolve-{context.place}"
        return
    with tempfile.TemporaryDirectory(prefix="spikeloom-evolve-") as made:
        yield Path(made)
