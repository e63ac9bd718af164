"""`spikeloom compile` and `spikeloom simulate` as a user runs them, on a small network that was converted for digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spikeloom.backend import Form
from spikeloom.backend.folder import COMPILED
from spikeloom.backend.lower import InputRange, lower
from spikeloom.cli.app import app
from spikeloom.cli.compile import summary
from spikeloom.datasets.events import ADDRESS, write_events
from spikeloom.ir import Program
from spikeloom.ir.hardware import Netlist, load_netlist
from spikeloom.pipeline import replaying
from spikeloom.simulate.event_stream import events_from
from spikeloom.simulate.integers import run_integers


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in network on whole numbers."""
    folder = tmp_path_factory.mktemp("net") / "digits"
    done = run("convert", "--timesteps", "1", "--whole-numbers", "--samples", "64", "--output-dir", str(folder))
    assert done.exit_code == 0, done.output
    return folder


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def test_compile_answers_as_the_floating_network(network: Path, tmp_path: Path) -> None:
    done = run("compile", str(network), "--target", "c", "--output-dir", str(tmp_path / "c"), "--samples", "128", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["agreement"] >= 0.99
    assert abs(told["accuracy"] - told["accuracy_floating"]) <= 0.01
    kept = json.loads((tmp_path / "c" / COMPILED).read_text())
    assert kept["target"] == "c"
    assert set(kept["files"]) == {str(path.relative_to(tmp_path / "c")) for path in (tmp_path / "c").rglob("*") if path.name != COMPILED}


def test_a_summary_says_how_answers_are_kept_where_rounding_loses_them() -> None:
    told = {"target": "c", "neurons": 1, "weights": 1, "timesteps": 1, "samples": 1, "report": {}}
    lines = [[str(cell) for cell in summary(Path("f"), told | {"agreement": share}).columns[1]._cells] for share in (0.98, 0.99)]
    assert ["--whole-numbers" in line[1] for line in lines] == [True, False]


def test_replay_sees_whether_bytes_would_change(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert run("compile", str(network), "--target", "c", "--output-dir", str(folder), "--samples", "16", "--no-verify").exit_code == 0
    same = run("compile", str(folder), "--replay", "--no-verify", "--json")
    found = json.loads(same.stdout)
    assert (same.exit_code, found["same"], found["lowered"]) == (0, True, True)
    told = json.loads((folder / COMPILED).read_text())
    told["files"]["netlist.json"] = "0" * 64
    (folder / COMPILED).write_text(json.dumps(told))
    other = run("compile", str(folder), "--replay", "--no-verify")
    assert other.exit_code == 1
    assert "netlist.json" in other.stdout


def test_replay_sees_files_that_are_not_what_was_written(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert run("compile", str(network), "--target", "c", "--output-dir", str(folder), "--samples", "16", "--no-verify").exit_code == 0
    (folder / "Makefile").unlink()
    (folder / "net.c").write_text((folder / "net.c").read_text() + "\n")
    found = json.loads((other := run("compile", str(folder), "--replay", "--no-verify", "--json")).stdout)
    assert (other.exit_code, found["same"], found["altered"]) == (1, True, ["Makefile", "net.c"])
    assert "not what was written any more: Makefile, net.c" in run("compile", str(folder), "--replay", "--no-verify").stdout
    for damaged in ("{}", "[]", json.dumps(json.loads((folder / COMPILED).read_text()) | {"lowered": {"folder": 1}})):
        (folder / COMPILED).write_text(damaged)
        told = run("compile", str(folder), "--replay", "--no-verify")
        assert told.exit_code == 2
        assert "is no compiled network" in told.stderr


def test_replay_says_where_vectors_were_not_run(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c"
    assert run("compile", str(network), "--target", "c", "--output-dir", str(folder), "--samples", "16", "--no-verify").exit_code == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "the golden vectors were not run" in " ".join(run("compile", str(folder), "--replay").stdout.split())


def test_replay_sees_a_change_of_lowering(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the step stands for lowering that has changed; without its network the folder can only be emitted again, which is said."""
    folder, source = tmp_path / "c", tmp_path / "net"
    shutil.copytree(network, source)
    assert run("compile", str(source), "--target", "c", "--output-dir", str(folder), "--samples", "16", "--no-verify").exit_code == 0

    def halved(program: Program, ticks: int, given: InputRange, form: Form) -> Netlist:
        return lower(program, ticks, InputRange(given.low, given.high, (given.step or 1.0) / 2), form)

    monkeypatch.setattr(replaying, "lower", halved)
    other = run("compile", str(folder), "--replay", "--no-verify", "--json")
    found = json.loads(other.stdout)
    assert (other.exit_code, found["same"], "netlist.json" in found["changed"]) == (1, False, True)
    (source / "program.json").unlink()
    told = run("compile", str(folder), "--replay", "--no-verify")
    assert told.exit_code == 0
    assert "not lowered again: there is no network" in " ".join(told.stdout.split())


def test_targets_are_listed() -> None:
    done = run("compile", "--list-targets", "--json")
    assert done.exit_code == 0
    assert "c" in json.loads(done.stdout)
    assert "c: " in run("compile", "--list-targets").stdout


MISTAKES = [
    (["compile"], "no network was named"),
    (["compile", "NET"], "no target was named"),
    (["compile", "NET", "--target", "z80"], "the target is unknown"),
    (["compile", "NET", "--target", "c", "--option", "kernels"], "an option is no pair"),
    (["compile", "NET", "--target", "c", "--option", "kernels=fast"], "kernels=fast"),
    (["compile", "NET", "--target", "c", "--option", "colour=red"], "colour=red"),
    (["compile", "nowhere", "--target", "c"], "nowhere is not a saved program"),
    (["compile", "NET", "--replay"], "is no compiled network"),
    (["compile", "NET", "--target", "c", "--output-dir", "/proc/no"], "cannot write"),
    (["simulate", "NET", "--events", "missing.npz"], "no such file of events"),
]


@pytest.mark.parametrize(("words", "problem"), MISTAKES, ids=[problem for _, problem in MISTAKES])
def test_mistakes_are_one_clear_error(network: Path, words: list[str], problem: str) -> None:
    done = run(*[str(network) if word == "NET" else word for word in words])
    assert done.exit_code == 2, done.output
    assert problem in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_folder_of_something_else_is_left_alone(network: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = run("compile", str(network), "--target", "c", "--output-dir", str(tmp_path / "mine"), "--samples", "16")
    assert done.exit_code == 2
    assert "holds something else" in done.output
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_simulate_sends_what_the_reference_sends(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert run("compile", str(network), "--target", "c", "--output-dir", str(folder), "--samples", "16", "--no-verify").exit_code == 0
    netlist = load_netlist(folder)
    wire = netlist.wires[netlist.source.name]
    shown = np.random.default_rng(0).integers(wire.low, wire.high + 1, (1, *wire.shape))
    write_events(tmp_path / "in.csv", events_from(shown))
    for order in ("layers", "queue"):
        words = ["--events", str(tmp_path / "in.csv"), "--order", order, "--spikes", str(tmp_path / "out.npz"), "--json"]
        done = run("simulate", str(folder), *words)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["answer"] == pytest.approx((run_integers(netlist, shown)[0] * netlist.unit).tolist())
        assert told["spikes"] == len(np.load(tmp_path / "out.npz")["time"])


def test_a_bad_stream_is_refused(network: Path, tmp_path: Path) -> None:
    write_events(tmp_path / "late.csv", np.array([(5, 0, 0, 1)], ADDRESS))
    done = run("simulate", str(network), "--events", str(tmp_path / "late.csv"))
    assert done.exit_code == 2
    assert "time is out of range" in " ".join(done.output.split())
