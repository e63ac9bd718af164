"""Charts: marks at the right places, gaps where numbers are not numbers, descriptions for those who cannot see them."""

import itertools
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from tests.report import stories

from spikeloom.report import charts, measure, numerals, populations, svg

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)


def marks(drawn: Markup, class_: str) -> list[ElementTree.Element]:
    """The elements of that class; fails where the SVG is not well-formed."""
    return [item for item in ElementTree.fromstring(drawn).iter() if item.get("class") == class_]


@given(NUMBERS, NUMBERS)
def test_ticks_enclose_and_are_few(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    found = svg.ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1e-9)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 8
    assert all(y > x for x, y in itertools.pairwise(found)) or high - low < slack


def test_scale() -> None:
    assert svg.Scale(0, 10)(5) == 50
    assert svg.Scale(0, 10, 200, flip=True)(2.5) == 150
    assert svg.Scale(1, 16, log=True)(4) == pytest.approx(50)
    assert svg.Scale(0, 10)(99) == 100
    assert svg.Scale(3, 3)(3) == 50


def test_element_escapes_text_and_attributes() -> None:
    assert svg.element("text", "<b>", class_='"x') == '<text class="&#34;x">&lt;b&gt;</text>'


def test_ticks_stand_where_their_labels_say() -> None:
    drawn = svg.chart("a chart", 100, y_ticks=[(30, "x"), (70.5, "y")], x_ticks=[(25, "left")])
    assert [(line.get("y1"), line.get("y2")) for line in marks(drawn, "grid")] == [("30", "30"), ("70.5", "70.5")]
    assert [(text.text, text.get("x"), text.get("y")) for text in marks(drawn, "tick")] == [
        ("x", "0%", "34"),
        ("y", "0%", "74.5"),
        ("left", "25%", "118"),
    ]


def test_wilson_matches_the_published_interval() -> None:
    assert charts.wilson(0.9, 1000) == pytest.approx((0.8798, 0.9171), abs=1e-4)
    assert charts.wilson(1.0, 10)[1] == 1.0
    assert charts.wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


@pytest.mark.parametrize("values", [[1.0], [0.0], [0.5, 0.5], [0.999, 1.0], [0.88, 0.92]])
def test_share_ticks_stay_shares(values: list[float]) -> None:
    found = measure.share_ticks(values)
    assert len(found) >= 2
    assert found[0] >= 0
    assert found[-1] <= 1
    assert found[0] <= min(values)
    assert found[-1] >= max(values) - 1e-9


def test_tracks_share_one_scale_and_the_last_drawn_has_labels() -> None:
    tracks = charts.tracks({"ann": 0.904, "snn": 0.9, "control": None}, 1000)
    assert set(tracks) == {"ann", "snn"}
    (whisker,), (point,) = marks(tracks["snn"], "whisker snn"), marks(tracks["snn"], "mark snn")
    low, high, middle = (float(value.rstrip("%")) for value in (whisker.get("x1", ""), whisker.get("x2", ""), point.get("cx", "")))
    assert 0 < low < middle < high < 100
    (ann,) = marks(tracks["ann"], "whisker ann")
    assert float(ann.get("x1", "").rstrip("%")) > low
    assert "<text" not in tracks["ann"]
    assert "<text" in tracks["snn"]
    assert "95 % interval 88.0" in tracks["snn"].replace(numerals.NBSP, " ")


def test_curve_has_a_mark_for_every_measured_point() -> None:
    drawn = charts.curve_chart(stories.curve(), charts.OVER_TIME, 1000)
    points = marks(drawn, "mark snn")
    assert [point.get("cx") for point in points] == ["0%", "25%", "50%", "75%", "100%"]
    heights = [float(point.get("cy", "nan")) for point in points]
    assert heights == sorted(heights, reverse=True)
    assert len(marks(drawn, "mark control")) == len(marks(drawn, "mark ann")) == 5
    assert len(marks(drawn, "band")) == 1
    assert len(marks(charts.curve_chart(stories.curve(), [charts.AGREEMENT]), "mark agreement")) == 5


def test_curve_leaves_a_gap_where_there_is_no_number() -> None:
    rows = [{"timesteps": t, "accuracy": a} for t, a in ((4, 0.9), (1, 0.5), (2, math.nan), (3, 0.8))]
    drawn = charts.curve_chart(rows, [charts.SNN])
    (line,) = marks(drawn, "line snn")
    assert line.get("d", "").count("M") == 2
    assert len(marks(drawn, "mark snn")) == 3


def test_one_timestep_is_no_curve() -> None:
    assert charts.curve_chart(stories.curve()[:1], charts.OVER_TIME) == ""
    assert charts.curve_chart([{"timesteps": 1}, {"timesteps": 2}], charts.OVER_TIME) == ""


def test_fidelity_names_the_worst_and_only_it() -> None:
    drawn = charts.fidelity_chart(stories.fidelity(), stories.WORST)
    (worst,) = marks(drawn, "mark bad")
    assert stories.WORST in "".join(worst.itertext())
    assert len(marks(drawn, "ring")) == 1
    assert len(marks(drawn, "mark snn")) == 18
    assert re.search(r">worst, 12\.0.dB<", drawn)


def test_fidelity_shows_exact_and_unknown_layers_apart() -> None:
    rows = [{"node": "a", "sqnr_db": math.inf}, {"node": "b", "sqnr_db": math.nan}, {"node": "c", "sqnr_db": 20.0}]
    exact, unknown = marks(charts.fidelity_chart(rows, "c"), "mark hollow")
    assert exact.tag == "circle"
    assert float(exact.get("cy", "nan")) == 0
    assert unknown.tag == "rect"


def test_rates_bars_stand_on_the_axis() -> None:
    rows = [{"node": "a", "silent": 0.5}, {"node": "b", "silent": None}, {"node": "c", "silent": 0.25}]
    first, second = marks(charts.rates_chart(rows, "silent", "Silent", None), "bar")
    assert float(first.get("height", "")) == 2 * float(second.get("height", ""))
    assert float(first.get("y", "")) + float(first.get("height", "")) == 90
    assert charts.rates_chart(rows, "saturation", "Saturated", None) == ""


def test_energy_bar_is_to_scale() -> None:
    row = {"network": "SNN", "compute_pj": 30.0, "memory_pj": 20.0, "total_pj": 50.0}
    drawn = charts.energy_bar(row, 100.0)
    (compute,), (memory,) = marks(drawn, "energy compute"), marks(drawn, "energy memory")
    assert (compute.get("width"), memory.get("x"), memory.get("width")) == ("30%", "30%", "20%")
    (total,) = marks(charts.energy_bar({"network": "SNN", "total_pj": 50.0}, 100.0), "energy total")
    assert total.get("width") == "50%"


def test_histogram_parts_silent_spiking_and_cut() -> None:
    row = {"node": "a", "threshold": 1.0, "step": 1.0, "levels": 2, "edges": [-1, 0, 1, 2, 3], "counts": [4, 3, 2, 1]}
    drawn = populations.histogram(row)
    bars = {region: marks(drawn, f"histogram {region}")[0].get("d", "").count("Z") for region in ("silent", "spiking", "above")}
    assert bars == {"silent": 2, "spiking": 1, "above": 1}
    assert populations.clipped(row) == pytest.approx(0.1)
    (threshold,) = marks(drawn, "threshold")
    assert threshold.get("x1") == "50%"
    (cut,) = marks(drawn, "cut")
    assert (cut.get("x"), cut.get("width")) == ("75%", "25%")


@pytest.mark.parametrize(
    "changes",
    [{"edges": [0, math.nan, 1]}, {"edges": [0, 0, 1]}, {"counts": [0, 0]}, {"counts": [math.nan, -1]}, {"edges": [0], "counts": []}],
)
def test_histogram_of_nothing_is_nothing(changes: dict[str, list[float]]) -> None:
    assert populations.histogram({"node": "a", "edges": [0, 1, 2], "counts": [1, 2], **changes}) == ""


def test_raster_at_one_step_shows_levels() -> None:
    drawn = populations.raster({"node": "a", "timesteps": 1, "neurons": 4, "events": [[0, 1, 2], [0, 3, 4], [0, 9, 4]]})
    (bars,) = marks(drawn, "spikes")
    assert bars.get("d", "").count("Z") == 2
    assert "3 events of 4 neurons over 1 steps" in drawn


def test_raster_over_time_shades_by_level() -> None:
    drawn = populations.raster({"node": "a", "timesteps": 4, "neurons": 4, "events": [[0, 0, 1], [1, 2, 4], [3, 3, -4], [4, 0, 4]]})
    assert marks(drawn, "spikes shade1")[0].get("d", "").count("z") == 1
    assert marks(drawn, "spikes shade4")[0].get("d", "").count("z") == 2


def test_raster_of_many_events_is_thinned_evenly() -> None:
    many = {"node": "a", "timesteps": 100, "neurons": 200, "events": [[t, n, 1] for t in range(100) for n in range(200)]}
    assert populations.stride(many) == 4
    (dashes,) = marks(populations.raster(many), "spikes shade4")
    drawn = re.findall(r"M([\d.]+) ", dashes.get("d", ""))
    assert len(drawn) == populations.EVENTS_DRAWN
    assert float(drawn[-1]) > 99
    assert populations.raster({"node": "a", "timesteps": 1, "neurons": 1, "events": []}) == ""


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.curve_chart(stories.curve(), charts.OVER_TIME, 1000),
        lambda: charts.fidelity_chart(stories.fidelity(), stories.WORST),
        lambda: charts.rates_chart(stories.fidelity(), "firing_rate", "Firing rate", None),
        lambda: populations.histogram(stories.thresholds()[0]),
        lambda: populations.raster(stories.raster(1, 64, 15, "a", 0.5)),
    ],
)
def test_every_chart_is_described(draw: Callable[[], Markup]) -> None:
    picture = ElementTree.fromstring(draw())
    assert picture.get("role") == "img"
    assert len(picture.get("aria-label", "")) > 20
