"""`spikeloom simulate` on what a camera recorded: counts of each tick's own window go in, and what they cannot hold is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backend.netlists import golden, uniform
from typer.testing import CliRunner

from spikeloom.backend import TARGETS
from spikeloom.cli.app import app
from spikeloom.datasets.events import CAMERA, frames, read_events, write_events
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Route, Source, Wire, netlist_of
from spikeloom.pipeline.compilation import emitted
from spikeloom.simulate.integers import run_integers

SHAPE = (6, 7)
TICKS = 4


def network(shape: tuple[int, int], most: int = 3) -> Netlist:
    """A convolution of both polarities, neurons of seven levels, and five classes, over four ticks."""
    rng, size = np.random.default_rng(0), 3 * shape[0] * shape[1]
    operations = [
        Convolution("c", ("x",), rng.integers(-9, 10, (3, 2, 3, 3)), None, (1, 1), (1, 1)),
        uniform("p", "c", 20, 7),
        Route("f", ("p",), (size,)),
        Affine("a", ("f",), rng.integers(-9, 10, (5, size))),
    ]
    return netlist_of(Source("x", 1.0), Wire((2, *shape), 0, most, True), operations, "a", unit=0.5, timesteps=TICKS)


def compiled(netlist: Netlist, folder: Path) -> str:
    target = TARGETS["c"]
    emitted(target, target.options(), netlist, golden(netlist, 2), folder, {}, verify=False)
    return str(folder)


def told_of(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["simulate", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def recording(count: int) -> np.ndarray:
    """An event every microsecond, each at a place of its own for as long as there is one."""
    made, place = np.zeros(count, CAMERA), np.arange(count)
    made["t_us"], made["x"], made["y"], made["p"] = place + 50, place % SHAPE[1], place // SHAPE[1] % SHAPE[0], place % 2
    return made


@pytest.mark.parametrize(("window", "late"), [(None, 0), (10, 60), (30, 0)])
def test_a_cameras_events_answer_as_their_counts(tmp_path: Path, window: int | None, late: int) -> None:
    netlist, events = network(SHAPE), recording(100)
    write_events(tmp_path / "in.csv", events)
    words = [] if window is None else ["--window-us", str(window)]
    told = told_of(compiled(netlist, tmp_path / "net"), "--events", str(tmp_path / "in.csv"), *words)
    counts = frames(events, SHAPE, TICKS, window)
    assert told["answer"] == pytest.approx((run_integers(netlist, counts[:, None])[0] * netlist.unit / TICKS).tolist())
    assert (told["late"], told["cut_off"], told["events_in"]) == (late, 0, int((counts > 0).sum()))
    assert told["spikes"] > 0


def test_events_that_are_left_out_are_told(tmp_path: Path) -> None:
    """100 events of one place in one tick, of which the input holds 3; 50 more after the last tick."""
    events = recording(150)
    events["x"] = events["y"] = events["p"] = 0
    events["t_us"] = np.repeat([0, 1000], [100, 50])
    write_events(tmp_path / "in.npz", events)
    words = ["simulate", compiled(network(SHAPE), tmp_path / "net"), "--events", str(tmp_path / "in.npz"), "--window-us", "100"]
    told = told_of(*words[1:])
    assert (told["cut_off"], told["late"], told["events_in"]) == (97, 50, 1)
    shown = " ".join(CliRunner().invoke(app, words, env={"COLUMNS": "200"}).stdout.split())
    assert "97 cut off by the input's range, 50 after the last tick left out" in shown


def test_nmnist_runs(shared: Callable[[str], Path], tmp_path: Path) -> None:
    file = shared("nmnist_small") / "test.npz"
    told = told_of(compiled(network((34, 34), 15), tmp_path / "net"), "--events", str(file), "--recording", "7")
    found = read_events(file)
    assert (told["recordings"], told["recording"], told["late"]) == (100, 7, 0)
    assert found.labels is not None
    assert told["label"] == found.labels[7]
    assert told["events_in"] == (frames(found.recording(7), (34, 34), TICKS) > 0).sum()


MISTAKES = [
    ([], 1, "an input of two polarities"),
    (["--window-us", "0"], 2, "a tick cannot last so long"),
    (["--recording", "1"], 2, "no recording of that number"),
]


@pytest.mark.parametrize(("words", "polarities", "problem"), MISTAKES, ids=[problem for *_, problem in MISTAKES])
def test_what_cannot_be_taken_is_one_clear_error(tmp_path: Path, words: list[str], polarities: int, problem: str) -> None:
    netlist = network(SHAPE)
    if polarities == 1:
        netlist = netlist_of(Source("x", 1.0), Wire((1, *SHAPE), 0, 1, True), [Route("f", ("x",), (42,))], "f", timesteps=TICKS)
    write_events(tmp_path / "in.csv", recording(20))
    done = CliRunner().invoke(app, ["simulate", compiled(netlist, tmp_path / "net"), "--events", str(tmp_path / "in.csv"), *words])
    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())
    assert "Traceback" not in done.output
