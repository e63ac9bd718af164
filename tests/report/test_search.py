"""Searches on the page: what fell and how, what there was to choose from; and before and after, layer by layer."""

import math
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.report import stories

from spikeloom.report import Story, refined, render, search
from spikeloom.report.measure import ACCURACY


def drawn(chart: str, class_: str) -> int:
    return sum(item.get("class") == class_ for item in ElementTree.fromstring(chart).iter())


def test_a_search_and_a_training_are_told_apart() -> None:
    (first, generations), (second, epochs) = search.runs(stories.refined().history)
    assert (first, second) == ("Search, step 7", "Fine-tuning, step 8")
    assert [line.name for line in search.lines(generations)] == ["The best so far", "Mean of the generation"]
    assert [line.name for line in search.lines(epochs)] == ["Held out", "Trained on"]
    chart = search.history_chart(generations)
    assert drawn(chart, "mark snn") == 11  # with the start
    assert drawn(chart, "mark control") == 10
    assert "The best so far: 0 1.000, 1 0.9500" in chart


def test_no_mean_draws_no_line_and_one_step_no_chart() -> None:
    rows = [{"run": "r", "step": n, "best": 1.0 - 0.1 * n, "mean": math.nan, "relative": False} for n in range(3)]
    assert [line.key for line in search.lines(rows)] == ["snn"]
    assert drawn(search.history_chart(rows), "line control") == 0
    assert search.history_chart(rows[:1]) == ""
    assert search.history_chart([{"run": "r", "step": 0}]) == ""


def test_who_is_beaten_and_who_was_picked() -> None:
    rows = [
        {"of": "f", "energy_pj": 1e6, "accuracy": 0.8},
        {"of": "f", "energy_pj": 2e6, "accuracy": 0.9, "picked": True},
        {"of": "f", "energy_pj": 3e6, "accuracy": 0.9},
        {"of": "f", "energy_pj": math.nan, "accuracy": 0.95},
    ]
    assert [search.beaten(row, rows, ACCURACY) for row in rows[:3]] == [False, False, True]
    chart = search.front_chart(rows, ACCURACY)
    assert (drawn(chart, "mark snn"), drawn(chart, "mark hollow"), drawn(chart, "ring chosen")) == (2, 1, 1)
    assert search.energy_unit(rows) == (1e6, "µJ")
    far = [{"of": "f", "energy_pj": e, "divergence": d} for e, d in ((1.0, 0.5), (2.0, 0.5), (3.0, 0.1))]
    assert [search.beaten(row, far, search.DIVERGENCE) for row in far] == [False, True, False]


def test_layers_are_paired_by_name_and_drawn_from_what_they_were_to_what_they_are() -> None:
    story = stories.refined()
    both = refined.pairs([*story.before, {"node": "gone"}], story.fidelity)
    assert [now["node"] for _, now in both] == stories.LAYERS
    chart = refined.layers_chart(both, "firing_rate")
    assert drawn(chart, "mark hollow") == drawn(chart, "mark snn") == drawn(chart, "stem") == len(both)
    was, now = both[3]
    assert f"{now['node']}: {100 * was['firing_rate']:.2f}" in chart
    assert refined.layers_chart([({"node": "a"}, {"node": "a", "sqnr_db": 3.0})], "sqnr_db") == ""


def test_only_what_is_known_of_both_is_compared() -> None:
    assert refined.compared({"accuracy": {"snn": 0.9}}) == []
    metrics = {"accuracy": {"snn": 0.9}, "before": {"accuracy": {"snn": 0.8}}, "energy_pj": {"snn": 1e6}}
    assert [name for name, *_ in refined.compared(metrics)] == ["Accuracy"]


@pytest.mark.parametrize(("part", "said"), [("history", "spikeloom tune"), ("before", "as it was converted")])
def test_what_was_not_done_is_said(part: str, said: str) -> None:
    page = render(Story("t"))
    assert said in page
    whole: dict[str, Any] = dict.fromkeys(["history", "front"] if part == "history" else ["before"], ())
    metrics = {key: value for key, value in (stories.refined().metrics or {}).items() if key != "before"}
    assert said in render(stories.refined(**whole, metrics=metrics))
    assert said not in render(stories.refined()).split('id="search"')[1].split('id="fidelity"')[0]


def test_hostile_names_are_only_text() -> None:
    rows = [{**row, "run": stories.HOSTILE, "of": stories.HOSTILE} for row in stories.refined().history]
    front = [{**row, "of": stories.HOSTILE} for row in stories.refined().front]
    before = [{**row, "node": stories.HOSTILE} for row in stories.fidelity()]
    page = render(stories.refined(history=rows, front=front, before=before, fidelity=before, worst=None))
    assert "<img" not in page
    assert "window.hacked=1</script>" not in page
