"""The Triton kernel gives what `neuron` gives, bit for bit, in Triton's interpreter; it compiles for a GPU; GPU tensors are sent to it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom import kernels
from spikeloom.errors import ResourceError
from spikeloom.kernels import triton_populations
from spikeloom.neuron import run_uniform as by_steps
from spikeloom.simulate.kernel import run_population

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton: pip install 'spikeloom[gpu]'")
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3, 5, 7), (1,)),
    ((4, 33), (1,)),
    ((2, 9, 70), (-1,)),
    ((3, 600, 2), (1,)),
    ((2, 3, 11, 4), (1, 3)),
    ((1, 1, 1), (1,)),
]


def same(a: Tensor, b: Tensor) -> bool:
    """The same numbers with the same signs of zero; any NaN is as good as another."""
    return a.shape == b.shape and bool(
        ((a.contiguous().view(torch.int32) == b.contiguous().view(torch.int32)) | (a.isnan() & b.isnan())).all()
    )


@st.composite
def neurons(draw: st.DrawFn) -> dict[str, Any]:
    shape, axes = draw(st.sampled_from(SHAPES))
    return {
        "shape": shape,
        "axes": axes,
        "levels": draw(st.sampled_from([(1, 0), (15, 0), (7, 7), (3, 1)])),
        "reset": draw(st.sampled_from(["subtract", "zero", "gated"])),
        "timesteps": draw(st.integers(1, 9)),
        "channels": draw(st.booleans()),
        "decays": draw(st.booleans()),
        "leaks": draw(st.booleans()),
        "odd": draw(st.booleans()),
        "moved": draw(st.booleans()),
        "over": draw(st.booleans()),
        "seed": draw(st.integers(0, 10**6)),
    }


@needs_triton
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter is numpy, which warns where inputs are infinite
@settings(deadline=None, max_examples=60)
@given(neurons())
def test_populations_are_those_of_neuron_bit_for_bit(case: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(case["seed"])
    shape, axes, steps = case["shape"], case["axes"], case["timesteps"]
    sizes = (int(torch.tensor([shape[axis] for axis in axes]).prod()),) if case["channels"] else ()
    step, v0 = torch.rand(sizes, generator=generator) + 0.1, torch.randn(sizes, generator=generator)
    decay = torch.rand(sizes, generator=generator) if case["decays"] else None
    leak = torch.randn(sizes, generator=generator) if case["leaks"] else None
    x = torch.randn((steps * shape[0], *shape[1:]), generator=generator) * 3
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.3, (x * 8).round() / 8, x)
    if case["odd"]:
        special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])[torch.randint(0, 5, x.shape, generator=generator)]
        x = torch.where(torch.rand(x.shape, generator=generator) < 0.1, special, x)
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if case["moved"] and x.ndim > 2 else x
    (levels, negative), reset, before = case["levels"], case["reset"], x.clone()
    told: dict[str, Any] = {"levels": levels, "negative": negative, "timesteps": steps}
    axis = axes if len(axes) > 1 else axes[0]
    expected = by_steps(x, step, v0, 1.0 if decay is None else decay, 0.0 if leak is None else leak, **told, reset=reset, axis=axis)
    told |= {"to_zero": reset == "zero", "gated": reset == "gated", "axes": axes}
    found = triton_populations.run_uniform(x, step, v0, decay, leak, **told)
    assert found is not None
    assert same(found, expected)
    assert same(x, before)
    if case["over"]:
        over = triton_populations.run_uniform(x, step, v0, decay, leak, **told, out=x)
        assert over is not None
        assert same(over, expected)


@needs_triton
def test_currents_of_whole_steps_reach_the_levels_that_a_true_division_gives() -> None:
    step = torch.rand(500) + 0.1
    x = torch.arange(-8, 9)[:, None] * step  # 1/step times these falls on other sides
    told: dict[str, Any] = {"levels": 7, "negative": 7, "timesteps": 1}
    found = triton_populations.run_uniform(x, step, torch.zeros(500), None, None, **told, to_zero=False, axes=(1,))
    assert found is not None
    assert same(found, by_steps(x, step, torch.zeros(500), 1.0, 0.0, **told, reset="subtract", axis=1))


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from spikeloom.kernels.triton_loops import run_uniform
from spikeloom.kernels.triton_populations import UNFUSED
floats = dict.fromkeys(["x_at", "o_at", "step_at", "v0_at", "decay_at", "leak_at"], "*fp32") | {"low": "fp32", "high": "fp32"}
sizes = {"neurons": "i64", "length": "i32", "mid": "i32", "groups": "i32", "timesteps": "i32"}
for reset in ("subtract", "zero", "gated"):
    fixed = {"together": True, "decays": True, "leaks": True, "reset": reset, "block": 512}
    source = ASTSource(run_uniform, floats | sizes | dict.fromkeys(fixed, "constexpr"), fixed)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=UNFUSED)
    ptx = made.asm["ptx"]
    assert made.asm["cubin"][:4] == b"\\x7fELF", "no cubin"
    assert "div.rn.f32" in ptx and "fma.rn" not in ptx and "div.full" not in ptx, ptx
    print(reset, len(made.asm["cubin"]), ptx.count("ld.global"), ptx.count("st.global"))
"""


@needs_triton
def test_it_compiles_for_a_gpu_and_rounds_as_single_operations_do() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == 3


class Seen:
    """Stands where the kernel does, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def __call__(self, x: Tensor, *_: Any, **told: Any) -> Tensor:
        self.given.append(told)
        return x + 1


def test_tensors_that_triton_serves_are_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, x, step = Seen(), torch.randn(6, 3, device="meta"), torch.tensor(0.3, device="meta")  # no CPU's
    options: dict[str, Any] = {"levels": 5, "negative": 2, "reset": "zero", "axis": 1, "timesteps": 3}
    monkeypatch.setattr(triton_populations, "run_uniform", seen)
    assert run_population(x, step, step, 1.0, 0.0, **options).shape == x.shape
    assert seen.given == []
    monkeypatch.setattr(triton_populations, "serves", lambda *_: True)
    assert run_population(x, step, step, 1.0, 0.0, **options).shape == x.shape
    assert seen.given == [{"levels": 5, "negative": 2, "timesteps": 3, "to_zero": True, "gated": False, "axes": (1,), "out": None}]


def test_tensors_of_a_cpu_are_not_for_triton() -> None:
    x = torch.randn(3)
    assert not triton_populations.serves(x, None)
    assert kernels.serves_population(x)
    assert not kernels.serves_population(x.double())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@needs_triton
def test_on_a_gpu_it_gives_what_a_cpu_gives() -> None:
    told = (
        "import torch; from spikeloom.simulate.kernel import run_population as run; from spikeloom.kernels import triton_populations as t;"
        "x = torch.randn(8 * 4, 64, 33) * 3; s = torch.rand(64) + 0.1; d = torch.rand(64);"
        "o = dict(levels=7, negative=2, reset='subtract', axis=1, timesteps=8);"
        "a = run(x, s, s / 2, d, 0.0, **o); b = run(x.cuda(), s.cuda(), (s / 2).cuda(), d.cuda(), 0.0, **o);"
        "assert t.serves(x.cuda()) and torch.equal(a, b.cpu())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    assert subprocess.run([sys.executable, "-c", told], env=environment, check=False).returncode == 0


def test_without_triton_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    triton_populations._kernel.cache_clear()
    monkeypatch.setattr(triton_populations, "installed", lambda: False)
    with pytest.raises(ResourceError, match=r"pip install 'spikeloom\[gpu\]'"):
        triton_populations.run_uniform(
            torch.ones(2, 3), torch.tensor(1.0), torch.tensor(0.5), None, None, levels=1, negative=0, to_zero=False, axes=(1,), timesteps=1
        )
    triton_populations._kernel.cache_clear()
