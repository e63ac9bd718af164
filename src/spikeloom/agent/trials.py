"""
Trials: how good candidates of weights are without exploration, side by side with learning, and the way back to the best of them.

Of E environments a share are sentinels: they act as the candidate does, its best action, while the others explore and change the weights.
A trial ends when the sentinels have played its episodes, each the same number of them (short ones are not counted more often). Then the
weights as they are now become the next candidate. Where a candidate is worse than the best so far by more than noise, learning goes on
from the best, unless those that explored meanwhile, with newer weights and actions that were drawn, brought more than that best: then the
newest weights are ahead of the candidate. The first candidate is what was converted, so that nothing worse than it is ever kept.

With fewer than four environments there are no sentinels beside the others: trials and learning alternate.

Source: Page & Hinkley's idea of a reference kept aside; in reinforcement learning, safe policy improvement (Thomas et al. 2015, ICML).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from spikeloom.agent.body import Body
from spikeloom.agent.tail import Weights


@final
@dataclass(frozen=True)
class Score:
    """The mean return of weights in a trial, its standard error, over how many episodes, and in which body (None: the present one)."""

    weights: Weights
    mean: float
    error: float
    episodes: int
    body: Body | None = None


@final
@dataclass(frozen=True)
class TrialState:
    """The candidate, the returns its sentinels had so far [E, rounds] (NaN: not yet), how many of each row, the best of all trials (None
    before the first ended), how many ended, how many led back, the episodes explored since the last trial ended, and what they brought
    together."""

    candidate: Weights
    found: Float[ndarray, "e r"]
    counted: Int[ndarray, " e"]
    best: Score | None = None
    ended: int = 0
    led_back: int = 0
    explored: int = 0
    brought: float = 0.0


@final
@dataclass(frozen=True)
class Trials:
    """Episodes of a trial, the share of environments that are sentinels, and the standard errors that are more than noise."""

    episodes: int = 16
    share: float = 0.25
    noise: float = 2.0

    def sentinels(self, environments: int) -> int:
        """How many environments are sentinels while others explore."""
        return 0 if environments < 4 else min(max(int(environments * self.share), 1), self.episodes)

    def rounds(self, environments: int) -> int:
        """Episodes that each sentinel plays in a trial."""
        rows = self.sentinels(environments) or environments
        return -(-self.episodes // rows)

    def init(self, weights: Weights, environments: int) -> TrialState:
        """The first trial, of these weights."""
        rows = self.sentinels(environments) or environments
        return TrialState(weights, np.full((rows, self.rounds(environments)), np.nan), np.zeros(rows, np.int64))

    def roles(self, state: TrialState, environments: int) -> Bool[ndarray, " e"]:
        """Which environments would be sentinels if their episodes began now."""
        count, roles = self.sentinels(environments), np.zeros(environments, bool)
        if count:
            roles[:count] = True
            return roles
        resting = state.ended > 0 and state.explored < 3 * self.episodes
        return roles if resting else ~roles

    def seen(
        self, state: TrialState, ended: Bool[ndarray, " e"], returns: Float[ndarray, " e"], sentinel: Bool[ndarray, " e"]
    ) -> TrialState:
        """The trial after some episodes ended."""
        found, counted = state.found.copy(), state.counted.copy()
        for row in np.flatnonzero(ended & sentinel):
            if counted[row] < found.shape[1]:
                found[row, counted[row]] = returns[row]
                counted[row] += 1
        exploring = ended & ~sentinel
        explored, brought = state.explored + int(exploring.sum()), state.brought + float(returns[exploring].sum())
        return TrialState(state.candidate, found, counted, state.best, state.ended, state.led_back, explored, brought)

    def over(self, state: TrialState) -> bool:
        """Whether the trial has all of its episodes."""
        return not bool(np.isnan(state.found).any())

    def judged(self, state: TrialState, weights: Weights) -> tuple[TrialState, Weights]:
        """After a trial: the next one, and the weights to go on from: the best where the candidate was worse by more than noise, and
        exploring since brought no more than the best."""
        values = state.found.reshape(-1)
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
        score = Score(state.candidate, float(values.mean()), error, len(values))
        best = state.best if state.best is not None and state.best.mean >= score.mean else score
        worse = score.mean < best.mean - self.noise * float(np.hypot(score.error, best.error))
        worse &= state.brought <= best.mean * state.explored
        onward = best.weights if worse else weights
        rows, rounds = state.found.shape
        fresh = np.full((rows, rounds), np.nan), np.zeros(rows, np.int64)
        return TrialState(onward, *fresh, best, state.ended + 1, state.led_back + int(worse)), onward
