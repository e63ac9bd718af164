"""
What numba compiles for `events`: plasticity driven by lists of events, in float64. A trace is decayed when it is read and not before (1);
nothing runs between events.

    x(t) = x(t₀)·exp(−(t − t₀)/τ)                                                                      (1)
    Σ_{k=1…m} η·d·a_d^k·e·a_e^k = η·d·e·q·(1 − q^m)/(1 − q),  q = a_d·a_e                              (2)

Events are sorted by time, and no neuron has two at one time. All events of one time are taken together, as a dense step takes them: `now_*`
hold their levels while it lasts.
"""

from math import exp
from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
@no_type_check
def _left(elapsed, tau):
    """exp(−elapsed/τ), 1 at once, also for τ = 0."""
    return 1.0 if elapsed == 0.0 else exp(-elapsed / tau)


@njit(cache=True, error_model="numpy")
@no_type_check
def _until(time, first, now):
    """The end of the events of one time that begin at `first`."""
    last = first
    while last < time.shape[0] and time[last] == now:
        last += 1
    return last


@njit(cache=True, error_model="numpy")
@no_type_check
def _mark(neuron, level, first, last, now):
    for event in range(first, last):
        now[neuron[event]] = level[event]


@njit(cache=True, error_model="numpy")
@no_type_check
def _age(r1, r2, o1, o2, seen, taus, now):
    """(1) for the traces of both populations: they are about to be read."""
    elapsed = now - seen[0]
    r1 *= _left(elapsed, taus[0])
    r2 *= _left(elapsed, taus[1])
    o1 *= _left(elapsed, taus[2])
    o2 *= _left(elapsed, taus[3])
    seen[0] = now


@njit(cache=True, error_model="numpy")
@no_type_check
def _add(fast, slow, neuron, level, first, last, nearest):
    """Spikes enter the traces, which stand at their time, of those neurons that sent them."""
    for event in range(first, last):
        n, k = neuron[event], level[event]
        fast[n] = k if nearest else fast[n] + k
        slow[n] = k if nearest else slow[n] + k


@njit(cache=True, error_model="numpy")
@no_type_check
def _asked(pre, post, r1, r2, o1, o2, amounts):
    """What strengthens and what weakens a synapse, for spikes of these levels; `stdp` (1) and (2)."""
    a_plus, a_minus, triplet_plus, triplet_minus = amounts
    return post * (a_plus + triplet_plus * o2) * r1, pre * (a_minus + triplet_minus * r2) * o1


@njit(cache=True, error_model="numpy")
@no_type_check
def _bounded(w, up, down, bounds):
    """`bounds` (2) and (3); `bounds` are low, high, μ₊, μ₋, and infinite where there are none."""
    low, high, mu_plus, mu_minus = bounds
    if mu_plus != 0.0 or mu_minus != 0.0:
        u = min(max((w - low) / (high - low), 0.0), 1.0)
        up, down = up * (1.0 - u) ** mu_plus, down * u**mu_minus
    return min(max(w + (up - down), low), high)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def stdp(weights, traces, seen, pre, post, taus, amounts, bounds, nearest):
    """Changes `weights` [out, in], `traces` (r₁, r₂, o₁, o₂) and `seen` (the time they stand at)."""
    r1, r2, o1, o2 = traces
    (pre_time, pre_neuron, pre_level), (post_time, post_neuron, post_level) = pre, post
    now_pre, now_post = np.zeros_like(r1), np.zeros_like(o1)
    p, q = 0, 0
    while p < pre_time.shape[0] or q < post_time.shape[0]:
        now = min(pre_time[p] if p < pre_time.shape[0] else np.inf, post_time[q] if q < post_time.shape[0] else np.inf)
        p_end, q_end = _until(pre_time, p, now), _until(post_time, q, now)
        _mark(pre_neuron, pre_level, p, p_end, now_pre)
        _mark(post_neuron, post_level, q, q_end, now_post)
        _age(r1, r2, o1, o2, seen, taus, now)
        for event in range(q, q_end):
            j = post_neuron[event]
            for i in range(r1.shape[0]):
                up, down = _asked(now_pre[i], now_post[j], r1[i], r2[i], o1[j], o2[j], amounts)
                weights[j, i] = _bounded(weights[j, i], up, down, bounds)
        for event in range(p, p_end):
            i = pre_neuron[event]
            for j in range(o1.shape[0]):
                if now_post[j] == 0.0:
                    up, down = _asked(now_pre[i], 0.0, r1[i], r2[i], o1[j], o2[j], amounts)
                    weights[j, i] = _bounded(weights[j, i], up, down, bounds)
        _add(r1, r2, pre_neuron, pre_level, p, p_end, nearest)
        _add(o1, o2, post_neuron, post_level, q, q_end, nearest)
        now_pre[pre_neuron[p:p_end]] = 0.0
        now_post[post_neuron[q:q_end]] = 0.0
        p, q = p_end, q_end


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def eligibility(marks, held, seen, pre, post, tau, tau_pre, gain, until):
    """Changes `marks` [out, in], x̄ `held` [in] and `seen` (of x̄ and of the rows of marks); all stand at `until` afterwards."""
    seen_pre, seen_post = seen
    (pre_time, pre_neuron, pre_level), (post_time, post_neuron, post_level) = pre, post
    p = 0
    for event in range(post_time.shape[0]):
        now, j, k = post_time[event], post_neuron[event], post_level[event]
        while p < pre_time.shape[0] and pre_time[p] <= now:
            i = pre_neuron[p]
            held[i] = held[i] * _left(pre_time[p] - seen_pre[i], tau_pre) + pre_level[p]
            seen_pre[i] = pre_time[p]
            p += 1
        left = _left(now - seen_post[j], tau)
        for i in range(held.shape[0]):
            marks[j, i] = marks[j, i] * left + gain * k * held[i] * _left(now - seen_pre[i], tau_pre)
        seen_post[j] = now
    while p < pre_time.shape[0]:
        i = pre_neuron[p]
        held[i] = held[i] * _left(pre_time[p] - seen_pre[i], tau_pre) + pre_level[p]
        seen_pre[i] = pre_time[p]
        p += 1
    for j in range(marks.shape[0]):
        marks[j] *= _left(until - seen_post[j], tau)
    held *= np.exp(-(until - seen_pre) / tau_pre) if tau_pre > 0 else (seen_pre == until) * 1.0
    seen_pre[:], seen_post[:] = until, until


@njit(cache=True, error_model="numpy")
@no_type_check
def _sum(q, m):
    """Σ_{k=1…m} q^k, as in (2)."""
    if m <= 0 or q == 0.0:
        return 0.0
    return float(m) if q == 1.0 else q * (1.0 - q**m) / (1.0 - q)


@njit(cache=True, error_model="numpy")
@no_type_check
def _catch_up(weights, marks, last, j, i, step, asked, dopamine, decays, rate, bounds):
    """A synapse brought to `step`: (2) for the steps since `last` but this one, then this one with what STDP asks for.

    `dopamine`: its level at step `dopamine[1]`, after which there was no reward before `step`; and its level at `step`.
    """
    then, since, here = dopamine
    decay_e, decay_d = decays
    gap = step - last[j, i] - 1
    if gap > 0 and decay_d > 0.0:
        between = rate * then * decay_d ** (last[j, i] - since) * marks[j, i] * _sum(decay_d * decay_e, gap)
        weights[j, i] = min(max(weights[j, i] + between, bounds[0]), bounds[1])
    if step > last[j, i]:
        marks[j, i] = marks[j, i] * decay_e ** (step - last[j, i]) + asked
        weights[j, i] = min(max(weights[j, i] + rate * here * marks[j, i], bounds[0]), bounds[1])
        last[j, i] = step


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def reward(weights, marks, last, dopamine, traces, seen, pre, post, rewards, taus, amounts, nearest, decays, rate, bounds, until):
    """Changes `weights` and `marks` [out, in], `last` (the step each synapse stands at), `dopamine` (level, step), traces and `seen`.

    Times are steps, whole numbers in float64; all synapses and dopamine stand at `until` afterwards.
    """
    r1, r2, o1, o2 = traces
    (pre_time, pre_neuron, pre_level), (post_time, post_neuron, post_level), (reward_time, reward_value) = pre, post, rewards
    now_pre, now_post = np.zeros_like(r1), np.zeros_like(o1)
    p, q, r = 0, 0, 0
    while True:
        now = min(pre_time[p] if p < pre_time.shape[0] else np.inf, post_time[q] if q < post_time.shape[0] else np.inf)
        now = min(now, reward_time[r] if r < reward_time.shape[0] else np.inf, until)
        p_end, q_end, r_end = _until(pre_time, p, now), _until(post_time, q, now), _until(reward_time, r, now)
        _mark(pre_neuron, pre_level, p, p_end, now_pre)
        _mark(post_neuron, post_level, q, q_end, now_post)
        _age(r1, r2, o1, o2, seen, taus, now)
        here = dopamine[0] * decays[1] ** (now - dopamine[1]) if now > dopamine[1] else dopamine[0]
        here += reward_value[r:r_end].sum()
        levels = (dopamine[0], dopamine[1], here)
        everywhere = r_end > r or now >= until
        for j in range(o1.shape[0]):
            if everywhere or now_post[j] != 0.0:
                for i in range(r1.shape[0]):
                    up, down = _asked(now_pre[i], now_post[j], r1[i], r2[i], o1[j], o2[j], amounts)
                    _catch_up(weights, marks, last, j, i, now, up - down, levels, decays, rate, bounds)
        if not everywhere:
            for event in range(p, p_end):
                i = pre_neuron[event]
                for j in range(o1.shape[0]):
                    if now_post[j] == 0.0:
                        up, down = _asked(now_pre[i], 0.0, r1[i], r2[i], o1[j], o2[j], amounts)
                        _catch_up(weights, marks, last, j, i, now, up - down, levels, decays, rate, bounds)
        if everywhere:
            dopamine[0], dopamine[1] = here, now
        _add(r1, r2, pre_neuron, pre_level, p, p_end, nearest)
        _add(o1, o2, post_neuron, post_level, q, q_end, nearest)
        now_pre[pre_neuron[p:p_end]] = 0.0
        now_post[post_neuron[q:q_end]] = 0.0
        p, q, r = p_end, q_end, r_end
        if now >= until:
            return


@njit(cache=True, error_model="numpy")
@no_type_check
def _faded(marks, seen, j, now, decay):
    """Row j of the marks as it stands at `now`."""
    marks[j] *= decay ** (now - seen[j])
    seen[j] = now


@njit(cache=True, error_model="numpy")
@no_type_check
def _gathered(held, seen, pre, first, now, decay):
    """x̄ with the spikes up to `now` from `first` on, each at the step of its neuron's last one; where the later ones begin."""
    time, neuron, level = pre
    while first < time.shape[0] and time[first] <= now:
        i = neuron[first]
        held[i] = held[i] * decay ** (time[first] - seen[i]) + level[first]
        seen[i] = time[first]
        first += 1
    return first


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def three_factor(weights, marks, held, seen, pre, gain, signal, decays, shared):
    """Changes `weights` and `marks` [out, in], x̄ `held` [in] and `seen` (the steps at which x̄ and the rows of marks stand); a `shared`
    signal is for all neurons."""
    seen_pre, seen_post = seen
    decay, pre_decay = decays
    (gain_time, gain_neuron, gain_level), (time, neuron, level) = gain, signal
    p, q = 0, 0
    for event in range(time.shape[0] + 1):
        now = time[event] if event < time.shape[0] else np.inf
        while q < gain_time.shape[0] and gain_time[q] <= now:
            p = _gathered(held, seen_pre, pre, p, gain_time[q], pre_decay)
            j = gain_neuron[q]
            _faded(marks, seen_post, j, gain_time[q], decay)
            for i in range(held.shape[0]):
                marks[j, i] += gain_level[q] * held[i] * pre_decay ** (gain_time[q] - seen_pre[i])
            q += 1
        if event == time.shape[0]:
            break
        for j in range(weights.shape[0]):
            if shared or j == neuron[event]:
                _faded(marks, seen_post, j, now, decay)
                weights[j] += level[event] * marks[j]
    _gathered(held, seen_pre, pre, p, np.inf, pre_decay)
