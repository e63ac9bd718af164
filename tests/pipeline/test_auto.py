"""Levels and steps chosen by measurement: on held-out training samples, by the budget, once, and told on the page."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pipeline.cases import data, quarters, settings
from tests.pipeline.test_resume import stopping

from spikeloom.errors import ConfigError, DataError, NumericError
from spikeloom.ir import Program, Progress, save
from spikeloom.pipeline import Conversion, Settings, convert, convert_model
from spikeloom.pipeline.auto import afforded
from spikeloom.pipeline.conversion import candidate
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.sweep import held_out_samples
from spikeloom.simulate import SpikingModel
from spikeloom.zoo import build

GRID: dict[str, Any] = {"epochs": 2, "auto": ("levels", "timesteps"), "sweep_levels": (1, 7, 15), "sweep_timesteps": (2, 1)}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Conversion]:
    asked = settings(tmp_path_factory.mktemp("auto"), **GRID, budget="accuracy=2")
    return asked, convert(asked)


def test_the_cheapest_that_keeps_the_budget_is_converted(chosen: tuple[Settings, Conversion]) -> None:
    asked, made = chosen
    kept = [json.loads(path.read_text())["rows"] for path in sorted((asked.output_dir / "phases" / "1_choice").iterdir())]
    rows = [row for part in kept for row in part]
    meant = min((row for row in rows if row["ann"] - row["accuracy"] <= 0.02), key=lambda row: row["energy_pj"])
    assert any(row["ann"] - row["accuracy"] > 0.02 for row in rows)
    told = made.metrics["chosen"]
    for found in (made.metrics, told, made.snn.program.settings):
        assert (found["levels"], found["timesteps"]) == (meant["levels"], meant["timesteps"])
    assert (told["tried"], told["samples"]) == (6, 64)


def test_the_page_shows_the_choice(chosen: tuple[Settings, Conversion]) -> None:
    asked, made = chosen
    front = json.loads((asked.output_dir / "story.json").read_text())["front"]
    (picked,) = [row for row in front if row["picked"]]
    assert len(front) == 6
    assert (picked["levels"], picked["timesteps"]) == (made.metrics["levels"], made.metrics["timesteps"])
    page = (asked.output_dir / "report.html").read_text()
    assert "is the best of 6 settings that keeps accuracy=2" in page
    assert "To choose from: levels and steps" in page


def test_energies_are_those_of_an_evaluation_and_samples_are_new_ones(chosen: tuple[Settings, Conversion], tmp_path: Path) -> None:
    asked, made = chosen
    program = made.snn.program
    (seen,) = [inputs for inputs, _ in _calibration(asked, program)]
    (held,) = [inputs for (inputs,), _ in held_out_samples(program, asked).read(64, None)]
    assert len(held) == 64
    assert not any(bool((held == one).flatten(1).all(1).any()) for one in seen)
    assert made.metrics["chosen"]["energy_pj"] == pytest.approx(made.metrics["energy_pj"]["snn"], rel=0.2)


def _calibration(asked: Settings, program: Any) -> Any:
    from spikeloom.pipeline.tasks import task_of

    data = task_of(program.settings).samples(asked.dataset, "calibration", program, asked, asked.calibration_samples)
    return [(inputs[0], labels) for inputs, labels in data.read(64, None)]


def test_the_test_set_plays_no_part(chosen: tuple[Settings, Conversion], tmp_path: Path) -> None:
    """Another test set, the same choice and the same numbers behind it."""
    asked, made = chosen
    (x_test, y_test) = quarters(64, 9)
    other = dataclasses.replace(asked, dataset=data(tmp_path, x_test=255 - x_test, y_test=np.roll(y_test, 1)), output_dir=tmp_path / "out")
    again = convert(other)
    assert again.metrics["chosen"] == made.metrics["chosen"]
    assert again.metrics["accuracy"] != made.metrics["accuracy"]


def test_a_stopped_choice_goes_on_and_another_budget_measures_nothing_anew(chosen: tuple[Settings, Conversion], tmp_path: Path) -> None:
    asked, made = chosen
    here = dataclasses.replace(asked, output_dir=tmp_path / "out")

    def stop(what: str, done: int, total: int) -> None:
        if "N = 7, evaluating" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(here, progress=stop)
    told = list[str]()
    again = convert(dataclasses.replace(here, resume=True), progress=lambda what, *_: told.append(what))
    assert again.metrics["chosen"] == made.metrics["chosen"]
    assert again.metrics["accuracy"] == made.metrics["accuracy"]
    assert not [what for what in told if "N = 1," in what]
    told.clear()
    least = convert(dataclasses.replace(here, resume=True, budget="energy=1e12,latency=1"), progress=lambda what, *_: told.append(what))
    assert not [what for what in told if what.startswith(("training", "sweeping over levels: N"))]
    assert least.metrics["timesteps"] == 1
    with pytest.raises(ConfigError, match=r"(?s)none of 6 settings.*at least .* pJ \(N=1, T=1"):
        convert(dataclasses.replace(here, resume=True, budget="energy=1"))


def test_steps_alone_are_chosen_for_neurons_of_one_level(tmp_path: Path) -> None:
    asked = settings(tmp_path, epochs=2, method="if", auto=("timesteps",), sweep_timesteps=(2, 8), budget="latency=8")
    made = convert(asked)
    front = json.loads((asked.output_dir / "story.json").read_text())["front"]
    assert [(row["levels"], row["timesteps"]) for row in front] == [(1, 2), (1, 8)]
    assert front[1]["energy_pj"] > front[0]["energy_pj"]
    assert made.snn.timesteps == made.metrics["chosen"]["timesteps"]


def test_a_network_that_never_fires_is_nothing_to_choose(tmp_path: Path) -> None:
    asked = settings(tmp_path, epochs=2, calibration_samples=64)
    ann = tmp_path / "ann"
    save(ingest(asked, tmp_path / "training", lambda *_: None), ann)

    def silent(program: Program, asked: Settings, progress: Progress) -> SpikingModel:
        if asked.levels == 7:
            raise NumericError("no neuron of these populations ever fires on the calibration data")
        return candidate(program, asked, progress)

    asked = dataclasses.replace(asked, auto=("levels",), sweep_levels=(3, 7), timesteps=1, budget="latency=1")
    found = afforded(asked, ann, tmp_path / "kept", silent, lambda *_: None)
    assert [row["levels"] for row in found.rows] == [3]
    with pytest.raises(ConfigError, match="there is no network to choose"):
        afforded(dataclasses.replace(asked, sweep_levels=(7,)), ann, tmp_path / "kept", silent, lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"auto": ()}, "both are given"),
        ({"method": "if"}, "(?s)has one level.*--timesteps auto"),
        ({"method": "logic_gated"}, "one level and one step"),
        ({"budget": "latency=0.5"}, "latency is out of range"),
        ({"budget": "speed=1"}, "unknown budget"),
        ({"sweep_timesteps": (4, 2), "budget": "latency=1"}, "(?s)fewer steps than are measured.*T from 2"),
        ({"auto": ("levels",), "timesteps": 8, "budget": "latency=4"}, "(?s)fewer steps.*T from 8"),
        ({"sweep_levels": ()}, "holds no numbers"),
    ],
)
def test_what_cannot_be_chosen_is_told_before_any_work(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        convert(settings(tmp_path, **{**GRID, "budget": "accuracy=1", **changes}), progress=stopping(""))
    assert not (tmp_path / "out").exists()


def test_without_samples_to_choose_on_there_is_no_choice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training samples are left"):
        convert(settings(tmp_path, **{**GRID, "calibration_samples": 300}))


def test_a_module_in_memory_has_no_such_choice() -> None:
    with pytest.raises(ConfigError, match="with an address"):
        convert_model(build("digits-cnn"), [], Settings(auto=("levels",)))
