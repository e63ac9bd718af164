"""A sweep over levels and steps: what it measures, what it leaves, how it goes on, and what it refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.cases import settings
from tests.pipeline.test_resume import stopping

from spikeloom.errors import ConfigError
from spikeloom.pipeline import Settings, convert, evaluate, report

SWEPT: dict[str, Any] = {"epochs": 2, "sweep": True, "sweep_levels": (7, 2), "sweep_timesteps": (3, 1)}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What made a conversion with its sweep; nobody writes into its folder."""
    asked = settings(tmp_path_factory.mktemp("swept"), **SWEPT)
    convert(asked)
    return asked


def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "sweep.json").read_text())["rows"]


def test_every_level_and_step_is_measured_as_an_evaluation_measures_it(swept: Settings) -> None:
    folder, found = swept.output_dir, rows(swept.output_dir)
    assert [(row["levels"], row["timesteps"]) for row in found] == [(2, 1), (2, 3), (7, 1), (7, 3)]
    for row in found[2:]:  # N = 7 is what was converted
        told = evaluate(folder, timesteps=row["timesteps"])
        assert row["accuracy"] == told["accuracy"]["snn"]
        assert (row["ann"], row["control"]) == (told["accuracy"]["ann"], told["accuracy"]["control"])
        assert row["agreement"] == told["agreement"]
        assert row["samples"] == told["samples"] == 64
    assert found[0]["control"] != found[2]["control"]  # each N has a control of its own
    assert all(0 <= row["control_agreement"] <= 1 for row in found)


def test_the_page_has_the_sweep_and_is_made_again_with_it(swept: Settings) -> None:
    page = (swept.output_dir / "report.html").read_text()
    assert "SNN, T=3" in page
    assert "N=7 " in page
    assert json.loads((swept.output_dir / "story.json").read_text())["sweep"] == rows(swept.output_dir)
    assert report(swept.output_dir).read_text() == page


def test_a_stopped_sweep_goes_on_with_the_level_it_was_at(swept: Settings, tmp_path: Path) -> None:
    asked = dataclasses.replace(swept, output_dir=tmp_path / "out")
    told = list[str]()

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("sweeping over levels: N = 7, evaluating"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(asked, progress=stop)
    assert not (tmp_path / "out" / "sweep.json").exists()
    convert(dataclasses.replace(asked, resume=True), progress=lambda what, *_: told.append(what))
    assert not [what for what in told if "N = 2" in what or what.startswith(("training", "observing"))]
    assert [what for what in told if "N = 7" in what]
    assert rows(tmp_path / "out") == rows(swept.output_dir)


def test_a_finished_conversion_is_swept_later_and_without_a_sweep_none_is_left(swept: Settings, tmp_path: Path) -> None:
    alone = dataclasses.replace(swept, output_dir=tmp_path / "out", sweep=False)
    convert(alone)
    assert not (tmp_path / "out" / "sweep.json").exists()
    assert "--sweep" in (tmp_path / "out" / "report.html").read_text()
    told = list[str]()
    later = dataclasses.replace(alone, sweep=True, sweep_levels=(2,), resume=True)
    convert(later, progress=lambda what, *_: told.append(what))
    assert not [what for what in told if what.startswith(("training", "observing", "quantising"))]
    assert rows(tmp_path / "out") == rows(swept.output_dir)[:2]
    convert(dataclasses.replace(alone, resume=True))
    assert not (tmp_path / "out" / "sweep.json").exists()


@pytest.mark.slow
def test_several_at_once_give_the_same(swept: Settings, tmp_path: Path) -> None:
    convert(dataclasses.replace(swept, output_dir=tmp_path / "out", sweep_jobs=2))
    assert rows(tmp_path / "out") == rows(swept.output_dir)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "if"}, "(?s)has one level.*found: if.*--timesteps"),
        ({"sweep_levels": ()}, "sweep.over_levels holds no numbers"),
        ({"sweep_timesteps": (0, 1)}, "sweep.over_timesteps holds no numbers"),
    ],
)
def test_a_sweep_that_cannot_be_is_told_before_any_work(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        convert(settings(tmp_path, **{**SWEPT, **changes}), progress=stopping(""))
    assert not (tmp_path / "out").exists()
