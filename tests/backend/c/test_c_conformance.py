"""C against the integer reference, bit for bit: random networks, and every operation in its odd forms."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.backend.c.compiled import SANITIZERS, Case, case, mismatches
from tests.backend.netlists import Recipe, golden, made, recipes, uniform

from spikeloom.backend.c import COptions
from spikeloom.ir.hardware import Add, Affine, Convolution, Membrane, Operation, Pool, Population, Requantise, Route, Wire

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
RNG = np.random.default_rng(7)
KERNELS = ("dense", "event")


def whole(*shape: int, low: int = -127, high: int = 127) -> np.ndarray:
    return RNG.integers(low, high + 1, shape)


@given(st.lists(recipes(), min_size=6, max_size=6), st.booleans(), st.sampled_from(["-O1", "-O1 -mavx2", "-O1 -march=native"]))
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
def test_random_networks_equal_the_reference(
    tmp_path_factory: pytest.TempPathFactory, many: list[Recipe], streamed: bool, flags: str
) -> None:
    netlists = [recipe() for recipe in many]
    planes = ("spikes", "levels", "none")
    cases: list[Case] = [
        (netlist, golden(netlist, 4, streamed=streamed), COptions(kernels=kernels, planes=planes[place % 3]))
        for place, netlist in enumerate(netlists)
        for kernels in KERNELS
    ]
    found = mismatches(tmp_path_factory.mktemp("c"), cases, flags)
    assert not any(found.values()), found


def test_random_networks_under_sanitizers(tmp_path: Path) -> None:
    netlists = [made(1000 + seed, timesteps=(1, 2, 4)[seed % 3]) for seed in range(2)]
    cases: list[Case] = [(each, golden(each, streamed=True), COptions(kernels=kernels)) for each in netlists for kernels in KERNELS]
    found = mismatches(tmp_path, cases, SANITIZERS)
    assert not any(found.values()), found


@pytest.mark.parametrize(
    "flags",
    [
        "-O0 -march=native",
        *(pytest.param(flags, marks=[pytest.mark.slow, pytest.mark.timeout(600)]) for flags in ("-O2", "-O3 -march=native", SANITIZERS)),
    ],
)
def test_odd_forms(tmp_path: Path, flags: str) -> None:
    found = mismatches(tmp_path, [odd for kernels in KERNELS for odd in odd_cases(kernels)], flags)
    assert not any(found.values()), found


def odd_cases(kernels: str) -> list[Case]:
    """Every operation in forms that random networks rarely or never have."""
    return [case(operations, wire, kernels=kernels, **told) for operations, wire, told in odd_networks()]


def odd_networks() -> list[tuple[list[Operation], Wire, dict[str, object]]]:
    image, grey, spikes = Wire((4, 9, 8), 0, 15, True), Wire((1, 12, 11), 0, 255, True), Wire((6, 9, 8), 0, 1, True)
    signed, far = Wire((4, 7, 7), -128, 127, True), Wire((40,), -(1 << 20), 1 << 20)
    bias = whole(8, low=-(1 << 33), high=1 << 33)
    at_least = np.sort(whole(4, 40, low=-3000, high=3000), 1)
    return [
        # convolutions: groups, dilation, stride, padding of both kinds, one filter a channel, signed bytes, more than 64 outputs
        ([Convolution("c", ("x",), whole(8, 2, 3, 3), whole(8), (2, 1), (2, 1), (2, 1), 2)], image, {}),
        ([Convolution("c", ("x",), whole(6, 4, 2, 3), None, (1, 2), (1, 3), (1, 2))], image, {}),
        ([Convolution("c", ("x",), whole(4, 1, 3, 3), whole(4), (1, 1), (1, 1), (1, 1), 4)], image, {}),
        ([Convolution("c", ("x",), whole(8, 1, 3, 3), None, (1, 1), (1, 1), (1, 1), 4)], image, {}),
        ([Convolution("c", ("x",), whole(40, 1, 5, 5), None, (2, 2))], grey, {}),
        ([Convolution("c", ("x",), whole(83, 4, 3, 3), None, (1, 1), (1, 1))], image, {}),
        ([Convolution("c", ("x",), whole(17, 4, 3, 3), whole(17), (1, 1), (1, 1))], signed, {}),
        ([Convolution("c", ("x",), whole(5, 4, 1, 1, low=-3000, high=3000), None)], signed, {}),
        # ternary: spikes and levels, groups, as bytes
        ([Convolution("c", ("x",), whole(37, 6, 3, 3, low=-1, high=1), whole(37), (1, 2), (1, 1))], spikes, {}),
        ([Convolution("c", ("x",), whole(32, 6, 3, 3, low=-1, high=1), None, (1, 1), (1, 1), (2, 2))], spikes, {}),
        ([Convolution("c", ("x",), whole(4, 3, 3, 3, low=-1, high=1), None, (1, 1), (1, 1), (1, 1), 2)], spikes, {}),
        ([Convolution("c", ("x",), whole(5, 4, 3, 3, low=-1, high=1), None, (1, 1), (1, 0))], image, {"planes": "levels"}),
        ([Route("f", ("x",), (432,)), Affine("a", ("f",), whole(530, 432, low=-1, high=1))], spikes, {"samples": 6}),
        ([Route("f", ("x",), (432,)), Affine("a", ("f",), whole(48, 432, low=-1, high=1))], spikes, {"planes": "none"}),
        # flattened images keep their order; rows of tokens; outputs that are images; wide numbers
        ([Pool("m", ("x",), "max", (2, 2), (2, 2)), Route("f", ("m",), (64,)), Affine("a", ("f",), whole(7, 64))], image, {}),
        ([Affine("a", ("x",), whole(9, 11), whole(9)), uniform("p", "a", whole(9, low=90, high=900), 9, axis=2)], grey, {}),
        ([Affine("a", ("x",), whole(6, 10)), uniform("p", "a", [55, 70, 90], 6, axis=0)], Wire((3, 10), -9, 9), {}),
        ([Affine("a", ("x",), whole(8, 40, low=-(1 << 18), high=1 << 18), bias)], far, {}),
        ([Pool("m", ("x",), "max", (3, 3), (2, 2), (1, 1)), uniform("p", "m", 3, 4, axis=1)], signed, {"timesteps": 3, "streamed": True}),
        ([Pool("s", ("x",), "sum", (3, 2), (1, 2), (1, 1)), uniform("p", "s", 9, 7, axis=2)], image, {"timesteps": 2}),
        # sums, requantisation beyond 32 bits, negative numbers rounded down
        ([Add("s", ("x", "x"), (whole(4), whole(1)), whole(4))], signed, {}),
        ([Requantise("q", ("x",), whole(1, low=1 << 30, high=1 << 31), 38, -128, 100)], far, {}),
        ([Requantise("q", ("x",), whole(4, low=-7, high=7), 3, -20, 25)], signed, {}),
        ([Requantise("q", ("x",), np.array([5]), 0, -20, 25)], signed, {}),
        # staircases: searched, compared, on a line of 32 and of 64 bits, with any heights
        ([Population("p", ("x",), at_least, whole(4, 41, low=-99, high=99))], Wire((4,), -3500, 3500), {"samples": 300}),
        ([Population("p", ("x",), at_least[:, :9], whole(1, 10, low=0, high=9))], Wire((4,), -3500, 3500), {"samples": 300}),
        ([uniform("p", "x", [211, 305, 97], 15)], Wire((3,), -5000, 5000), {"samples": 300}),
        ([uniform("p", "x", [50021, 41131, 60007], 31)], Wire((3,), -(1 << 21), 1 << 21), {"samples": 300}),
        ([uniform("p", "x", [1 << 27], 12, negative=11)], Wire((3,), -(1 << 31), (1 << 31) - 1), {"samples": 300}),
        # membranes that decay, leak, and are reset to zero, beyond 32 bits too
        ([_leaky(), uniform("p", "l", [77], 5, reset="zero")], Wire((6,), -300, 300), {"timesteps": 5, "streamed": True}),
        ([uniform("p", "x", [1 << 28], 6, decay=np.array([3900]), decay_shift=12)], Wire((5,), -(1 << 30), 1 << 30), {"timesteps": 4}),
        # routes: runs, holes, several operands, one by one, an input that is the output's part
        ([Route("r", ("x",), (8, 4, 4), _padded_slice())], Wire((4, 8, 8), 0, 15, True), {}),
        ([Route("r", ("x", "x"), (8, 7, 7))], signed, {}),
        ([Route("r", ("x",), (196,), RNG.permutation(196))], signed, {}),
        ([Route("r", ("x",), (196,), RNG.permutation(196)), Route("s", ("r",), (3,), np.array([5, -1, 195]))], signed, {}),
        ([Route("r", ("x",), (7, 4, 7)), Route("s", ("r",), (4, 49))], signed, {}),
        ([Route("f", ("x",), (392,)), Affine("a", ("f",), whole(5, 392))], Wire((8, 7, 7), 0, 3, True), {}),
        ([Route("v", ("x",), (5,))], Wire((5, 1, 1), -3, 3), {"timesteps": 2}),
        ([*_frame_and_flat()], image, {}),
        # what answers is not what is reckoned last, and nothing else may take its place
        ([Affine("a", ("x",), whole(40, 20)), uniform("p", "a", [300], 5), Affine("b", ("p",), whole(90, 40)), uniform("q", "b", 99, 3)],
         Wire((20,), 0, 9, True), {"output": "p"}),
    ]  # fmt: skip


def _leaky() -> Population:
    """Neurons of different starts, decays and leaks, with any amounts taken."""
    membrane = Membrane(whole(6), whole(6, 4, low=0, high=99), whole(6, low=0, high=256), 8, whole(6, low=-9, high=9))
    return Population("l", ("x",), np.sort(whole(6, 3, low=-200, high=200), 1), whole(6, 4, low=-5, high=5), 0, membrane)


def _padded_slice() -> np.ndarray:
    """Every second pixel, with empty channels before and behind."""
    index = np.full((8, 4, 4), -1)
    index[2:6] = np.arange(256).reshape(4, 8, 8)[:, ::2, ::2]
    return index.reshape(-1)


def _frame_and_flat() -> list[Operation]:
    """A wire that a convolution reads with a frame, a pool without, and a linear layer flattened."""
    return [
        Convolution("c", ("x",), whole(3, 4, 3, 3), None, (1, 1), (1, 1)),
        uniform("p", "c", [900, 700, 500], 3),
        Convolution("d", ("p",), whole(3, 3, 5, 5), None, (1, 1), (2, 2)),
        Add("s", ("d", "p"), (whole(3), whole(3)), whole(3)),
        Pool("m", ("p",), "sum", (9, 8), (9, 8)),
        Route("f", ("p",), (216,)),
        Affine("a", ("f",), whole(4, 216)),
        Route("g", ("s",), (216,)),
        Route("h", ("m",), (3,)),
        Route("o", ("a", "g", "h", "x"), (4 + 216 + 3 + 288,)),
    ]
