"""The sweep on the page: values in their cells, shades by how good they are, a line for every T."""

from typing import Any
from xml.etree import ElementTree

import pytest
from tests.report import stories

from spikeloom.errors import ProgramError
from spikeloom.report import Story, render, sweep
from spikeloom.report.measure import ACCURACY, COSINE, PERPLEXITY

ROWS = stories.swept()


def drawn(chart: str, class_: str) -> int:
    return sum(item.get("class") == class_ for item in ElementTree.fromstring(chart).iter())


def test_what_is_shown_is_the_measure_and_what_is_common_with_the_ann() -> None:
    (measure, rows), (common, agreed) = sweep.views(ROWS, PERPLEXITY)
    assert measure is PERPLEXITY
    assert sweep.cell(rows, 15, 2) == ROWS[4]["perplexity"]["snn"]
    assert sweep.beside(rows, 7, "ann") == 4.856
    assert sweep.beside(rows, 7, "control") == ROWS[0]["perplexity"]["control"]
    assert sweep.cell(rows, 7, 3) is None
    assert common.caption == "Same next token as the ANN"
    assert sweep.cell(agreed, 63, 4) == ROWS[-1]["agreement"]
    assert sweep.cell(agreed, 63, 4, "control") == ROWS[-1]["control_agreement"]


def test_classifiers_and_encoders_have_their_own() -> None:
    rows = [{"levels": n, "timesteps": 1, "accuracy": 0.9, "ann": 0.91, "control": 0.8, "agreement": 0.95} for n in (7, 15)]
    assert [measure.name for measure, _ in sweep.views(rows, ACCURACY)] == ["Accuracy", "Agreement"]
    both = {"snn": 0.99, "control": 0.98}
    rows = [{"levels": n, "timesteps": 1, "cosine": both, "rank_agreement": both} for n in (7, 15)]
    found = sweep.views(rows, COSINE)
    assert [measure.name for measure, _ in found] == ["Cosine", "Rank agreement"]
    assert sweep.cell(found[1][1], 7, 1) == 0.99
    assert sweep.beside(found[0][1], 7, "ann") is None


def test_the_better_a_cell_the_deeper_its_shade() -> None:
    ((_, rows), (common, agreed)) = sweep.views(ROWS, PERPLEXITY)
    worst, best = (sweep.cell(rows, n, t) for n, t in ((7, 4), (63, 1)))
    assert [sweep.shade(value, rows, PERPLEXITY) for value in (worst, best, None)] == ["heat0", "heat5", ""]
    low, high = (sweep.cell(agreed, n, 1) for n in (7, 63))
    assert [sweep.shade(value, agreed, common) for value in (low, high)] == ["heat0", "heat5"]


def test_the_chart_has_a_line_for_every_t_and_says_its_numbers() -> None:
    (_, rows), _ = sweep.views(ROWS, PERPLEXITY)
    chart = sweep.sweep_chart(rows, PERPLEXITY)
    for style in ("snn shade2", "snn shade3", "snn", "ann", "control"):
        assert drawn(chart, f"line {style}") == 1
        assert drawn(chart, f"mark {style}") == 4
    assert "SNN, T=1: N=7 5.349, N=15 5.120" in chart


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_what_is_no_number_leaves_a_gap(bad: Any) -> None:
    rows = [{**row, "perplexity": {**row["perplexity"], "snn": bad}} if row["levels"] == 15 else row for row in ROWS]
    (_, found), _ = sweep.views(rows, PERPLEXITY)
    assert drawn(sweep.sweep_chart(found, PERPLEXITY), "mark snn") == 3
    assert sweep.shade(bad, found, PERPLEXITY) == ""
    assert render(stories.language(sweep=rows))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_any_number_of_steps_has_lines(count: int) -> None:
    rows = [{"levels": n, "timesteps": t, "snn": 0.9} for n in (7, 15) for t in range(1, count + 1)]
    assert [line.name for line in sweep.lines(rows)] == [f"SNN, T={t}" for t in range(1, count + 1)]
    assert sweep.lines(rows)[-1].key == "snn"


def test_one_level_has_a_table_and_no_chart() -> None:
    rows = [row for row in ROWS if row["levels"] == 7]
    (_, found), _ = sweep.views(rows, PERPLEXITY)
    assert not sweep.sweep_chart(found, PERPLEXITY)
    assert "SNN, T=2" in render(stories.language(sweep=rows))


def test_the_numbers_are_on_the_page_and_without_a_sweep_how_to_get_them() -> None:
    page = render(stories.language())
    for wanted in ("5.349", "4.968", "5.714", "4.856", "82.86\N{NO-BREAK SPACE}%", "Same next token as the ANN", "on 20 blocks"):
        assert wanted in page, wanted
    assert "does it with --sweep" in render(stories.story())
    assert Story.from_json(stories.language().to_json()) == stories.language()


def test_a_row_without_its_levels_is_refused() -> None:
    with pytest.raises(ProgramError, match=r"sweep\[0\]\.levels"):
        stories.story(sweep=[{"timesteps": 1}])
