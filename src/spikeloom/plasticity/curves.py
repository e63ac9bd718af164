"""
Textbook curves, from the rules themselves: numbers for plots and tests.

    stdp_window         Δw of pairs by their delay                         Bi & Poo 1998, figure 7
    frequency_curve     Δw of 60 pairs by the rate they come at            Sjöström et al. 2001, figure 1; Pfister & Gerstner 2006, figure 5
    bcm_curve           φ by the output, for a threshold                   Bienenstock et al. 1982, figure 3
    room_curve          a step's size by the weight it starts from         Gütig et al. 2003
    trace_curve         a trace by time, after spikes
    reward_curve        Δw of one pair by how much later its reward comes  Izhikevich 2007
    settling            r̄ of a neuron by time, under homeostasis           Turrigiano 2008
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.bcm import BCM
from spikeloom.plasticity.bounds import Bounds, room
from spikeloom.plasticity.events import events, run_reward, run_stdp
from spikeloom.plasticity.homeostasis import Homeostasis
from spikeloom.plasticity.reward import RewardSTDP
from spikeloom.plasticity.stdp import STDP
from spikeloom.plasticity.trace import Trace


def paired(rule: STDP, delay_ms: float, pairs: int = 1, rate_hz: float = 1.0) -> float:
    """Δw of a synapse for pairs at a rate, post after pre by `delay_ms` (before it where that is below 0), without bounds."""
    pre_ms = [pair * 1000 / rate_hz for pair in range(pairs)]
    post_ms = [time_ms + delay_ms for time_ms in pre_ms]
    weights, none = torch.zeros(1, 1, dtype=torch.float64), [0] * pairs
    start = min(pre_ms[0], post_ms[0])  # times from 0 on
    pre, post = (events([time_ms - start for time_ms in times], none) for times in (pre_ms, post_ms))
    return float(run_stdp(replace(rule, bounds=None), weights, pre, post)[0])


def stdp_window(rule: STDP, delays_ms: Sequence[float]) -> Float[Tensor, " n"]:
    """Δw of one pair for each delay, post after pre where it is positive; float64."""
    return torch.tensor([paired(rule, delay_ms) for delay_ms in delays_ms], dtype=torch.float64)


def frequency_curve(rule: STDP, rates_hz: Sequence[float], delay_ms: float, pairs: int = 60) -> Float[Tensor, " n"]:
    """Δw of so many pairs with that delay, for each rate they come at; float64."""
    return torch.tensor([paired(rule, delay_ms, pairs, rate_hz) for rate_hz in rates_hz], dtype=torch.float64)


def bcm_curve(rule: BCM, theta: float, post: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """φ for each output."""
    return rule.drive(post, torch.full_like(post, theta))


def room_curve(bounds: Bounds, weights: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """How large a step up and a step down of 1 become at each weight."""
    return room(bounds, weights)


def trace_curve(trace: Trace, spikes: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
    """The trace after each step of a train."""
    state, rows = trace.init(1, 1, spikes), list[Tensor]()
    for spike in spikes:
        state = trace.step(state, spike.view(1, 1))
        rows.append(state.view(()))
    return torch.stack(rows)


def reward_curve(rule: RewardSTDP, delays_ms: Sequence[float], pair_ms: float = 10.0) -> Float[Tensor, " n"]:
    """Δw of one pair (post `pair_ms` after pre) rewarded once by 1, `delay` after the pair, when nothing is left to come; float64."""
    taus_ms = [rule.tau_eligibility_ms, rule.tau_dopamine_ms or 0.0]
    dt_ms, weights, rows = rule.stdp.dt_ms, torch.zeros(1, 1, dtype=torch.float64), list[float]()
    pair = (events([0.0], [0]), events([pair_ms], [0]))
    for delay_ms in delays_ms:
        until_ms = round((pair_ms + delay_ms + 20 * max(taus_ms)) / dt_ms) * dt_ms
        given = (*pair, events([pair_ms + delay_ms], [0]))
        rows.append(float(run_reward(replace(rule, bounds=None), weights, *given, until_ms)[0]))
    return torch.tensor(rows, dtype=torch.float64)


def settling(rule: Homeostasis, drive: Float[Tensor, " t"], weight: float = 1.0) -> Float[Tensor, " t"]:
    """r̄ after each step of a linear neuron that sends w·drive and scales its weight."""
    mean, weights, rows = rule.init(1, drive), drive.new_full((1, 1), weight), list[Tensor]()
    for value in drive:
        change, mean = rule.scale(mean, weights * value, weights)
        weights = weights + change
        rows.append(mean.view(()))
    return torch.stack(rows)
