"""
The Triton kernel of populations: one program has a block of neurons and goes through all steps, membranes in registers, one load and one
store a step. The arithmetic is that of `loops.run_uniform` in the same order; it has to be compiled without fused multiply-adds
(`triton_populations`), for those round once where `neuron` rounds twice. Imported at the first call: it needs triton.
"""

from typing import no_type_check

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit  # pyright: ignore[reportUntypedFunctionDecorator]
@no_type_check
def run_uniform(
    x_at, o_at, step_at, v0_at, decay_at, leak_at,
    low, high, neurons, length, mid, groups, timesteps,
    together: tl.constexpr, decays: tl.constexpr, leaks: tl.constexpr, reset: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """T steps of identity staircases, equations (1)-(4) of `neuron.uniform`; channels lie as `layout` says."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    there = place < neurons
    row = place // length
    channel = row // mid % groups
    if together:
        channel = channel * length + place % length
    step = tl.load(step_at + channel, mask=there, other=1.0)
    v = tl.load(v0_at + channel, mask=there, other=0.0)
    if decays:
        decay = tl.load(decay_at + channel, mask=there, other=0.0)
    if leaks:
        leak = tl.load(leak_at + channel, mask=there, other=0.0)
    if reset == "gated":
        sent = tl.zeros((block,), tl.float32)
    for _ in tl.range(0, timesteps, loop_unroll_factor=4):
        if decays:
            v = decay * v
        h = v + tl.load(x_at + place, mask=there, other=0.0)  # (1)
        if leaks:
            h = h - leak
        z = tl.floor(tl.div_rn(h, step))
        if reset == "gated":
            least = 0.0 - tl.where(sent > high, high, sent)
            z = tl.where((z < least) | (least != least), least, z)
        else:
            z = tl.where(z < low, low, z)
        z = tl.where(z > high, high, z)
        o = z * step  # (2)
        tl.store(o_at + place, o, mask=there)
        v = tl.where(o != 0.0, 0.0, h) if reset == "zero" else h - o  # (3)
        if reset == "gated":
            sent = sent + z  # (4)
        place += neurons
