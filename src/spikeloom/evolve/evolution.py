"""
The covariance-adapting population: the `cmaes` library's CMA-ES up to `FULL_SIZE` genes, its separable form beyond, with all of its state
in arrays, so that it can be written down and taken up again.

    m, σ, C, p_σ, p_c        mean, step size, covariance, paths                                    Hansen 2016, arXiv:1604.00772
    random numbers           of generation g: seeded by (seed, g) alone (the library's own pickles lose its generator)

A candidate that came from elsewhere (polished, steered) is shown to it as if it had been drawn: one that lies further out than a draw is
pulled in to c_y = √n + 2n/(n + 2) standard deviations                                             Hansen 2011, arXiv:1110.4181      (1)

Sources: cmaes, Nomura & Shibata 2024, arXiv:2402.01373; separable CMA-ES, Ros & Hansen 2008.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from cmaes import CMA, SepCMA
from jaxtyping import Float

from spikeloom.evolve.space import Genes

FULL_SIZE = 64
SIGMA = 0.3
"""The first step size, in units of the genes: thresholds change by 3 %."""
_KEPT = ("mean", "C", "p_sigma", "pc")


@final
class Evolution:
    """A population of so many candidates a generation around a mean."""

    def __init__(self, size: int, bounds: Float[np.ndarray, "d 2"], population: int, sigma: float = SIGMA) -> None:
        self.size, self.bounds, self.population = size, bounds, population
        made = CMA if size <= FULL_SIZE else SepCMA
        room = np.stack([np.minimum(bounds[:, 0], -1e-9), np.maximum(bounds[:, 1], 1e-9)], axis=1)
        self.inner: Any = made(mean=np.zeros(size), sigma=sigma, bounds=room, population_size=population, n_max_resampling=1)

    @property
    def sigma(self) -> float:
        """The step size."""
        return float(self.inner._sigma)

    def move_to(self, mean: Genes) -> None:
        """The next generation is drawn around these genes."""
        self.inner._mean = np.array(mean)

    def ask(self, count: int, seed: Sequence[int]) -> list[Genes]:
        """So many new candidates inside the bounds; the same for the same seed."""
        self.inner.reseed_rng(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
        return [np.clip(self.inner.ask(), self.bounds[:, 0], self.bounds[:, 1]) for _ in range(count)]

    def tell(self, candidates: Sequence[Genes], keys: Sequence[Any]) -> None:
        """What became of a whole generation: its candidates, and keys by which they sort, the best first."""
        order = sorted(range(len(keys)), key=lambda place: keys[place])
        ranks = {place: float(rank) for rank, place in enumerate(order)}
        self.inner.tell([(self._pulled_in(each), ranks[place]) for place, each in enumerate(candidates)])

    def _pulled_in(self, genes: Genes) -> Genes:
        """(1)."""
        away, scales = genes - self.inner._mean, self.inner._eigen_decomposition()
        whitened = away / scales if self.size > FULL_SIZE else (scales[0].T @ away) / scales[1]
        length, most = float(np.linalg.norm(whitened)) / self.sigma, math.sqrt(self.size) + 2 * self.size / (self.size + 2)
        return self.inner._mean + away * min(1.0, most / max(length, 1e-30))

    def state(self) -> dict[str, np.ndarray]:
        """All that the next generation depends on."""
        arrays = {f"cma.{name}": np.array(getattr(self.inner, f"_{name}"), dtype=np.float64) for name in _KEPT}
        return arrays | {"cma.sigma": np.array([self.inner._sigma]), "cma.generation": np.array([float(self.inner._g)])}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state."""
        for name in _KEPT:
            setattr(self.inner, f"_{name}", np.array(arrays[f"cma.{name}"]))
        self.inner._sigma, self.inner._g = float(arrays["cma.sigma"][0]), int(arrays["cma.generation"][0])
        self.inner._B = self.inner._D = None
