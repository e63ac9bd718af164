"""The story: what it refuses, and that it survives JSON."""

import json
import math
from typing import Any

import pytest
from tests.report import stories

from spikeloom.errors import ProgramError
from spikeloom.report import Story


def test_json_round_trip_keeps_everything() -> None:
    told = stories.story()
    text = json.dumps(told.to_json(), allow_nan=False)
    again = Story.from_json(json.loads(text))
    assert again.to_json() == told.to_json()
    assert again.worst == stories.WORST


def test_json_keeps_what_json_has_no_word_for() -> None:
    told = Story("t", settings={"a": [math.inf, -math.inf, math.nan], "b": {"c": (1, 2)}})
    a = Story.from_json(json.loads(json.dumps(told.to_json(), allow_nan=False))).settings
    assert a["a"][:2] == [math.inf, -math.inf]
    assert math.isnan(a["a"][2])
    assert a["b"] == {"c": [1, 2]}


def test_from_json_refuses_unknown_keys_and_a_missing_title() -> None:
    with pytest.raises(ProgramError, match="unknown: plann"):
        Story.from_json({"title": "t", "plann": []})
    with pytest.raises(ProgramError, match="no title"):
        Story.from_json({"plan": []})


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"title": 3}, "title is not a text"),
        ({"plan": {}}, "plan is not a list"),
        ({"plan": ["relu"]}, r"plan\[0\] is not a mapping"),
        ({"plan": [{"node": "a", "operation": "relu", "becomes": "x"}]}, r"plan\[0\]\.status is not one of exact, approximate"),
        ({"curve": [{"timesteps": 1, "accuracy": 90.4}]}, r"curve\[0\]\.accuracy is not a number from 0 to 1"),
        ({"curve": [{"accuracy": 0.9}]}, r"curve\[0\]\.timesteps is not a number"),
        ({"fidelity": [{"node": "a", "sqnr_db": True}]}, r"fidelity\[0\]\.sqnr_db is not a number"),
        ({"fidelity": [{"node": "a"}], "worst": "b"}, "worst layer is not in its fidelity table"),
        ({"thresholds": [{"node": "a", "edges": [0, 1], "counts": [1, 2]}]}, r"thresholds\[0\] needs one edge more"),
        ({"thresholds": [{"node": "a", "edges": [0, "x"], "counts": [1]}]}, r"thresholds\[0\]\.edges is not a list of numbers"),
        ({"raster": [{"node": "a", "timesteps": 0, "neurons": 1, "events": []}]}, r"raster\[0\]\.timesteps is not a whole number above 0"),
        ({"raster": [{"node": "a", "timesteps": 1, "neurons": 1, "events": [[0, 1]]}]}, r"raster\[0\]\.events is not a list of \[step"),
        ({"energy": [{"network": "SNN"}]}, r"energy\[0\]\.total_pj is not a number"),
        ({"records": [{"name": "r", "papers": "one text"}]}, r"records\[0\]\.papers is not a list of texts"),
        ({"metrics": {"accuracy": {"snn": 2}}}, r"metrics\.accuracy is not a mapping to numbers from 0 to 1"),
        ({"metrics": {"seconds": {"snn": "1"}}}, r"metrics\.seconds is not a mapping to numbers"),
        ({"mcnemar": {"p": 3}}, r"mcnemar\.p is not a number from 0 to 1"),
        ({"spike_share": 98.9}, "spike_share is not a number from 0 to 1"),
        ({"assumptions": "one"}, "assumptions is not a list of texts"),
    ],
)
def test_refuses_what_is_not_a_story(parts: dict[str, Any], place: str) -> None:
    with pytest.raises(ProgramError, match=place):
        Story.from_json({"title": "t", **parts})


def test_the_constructor_refuses_too() -> None:
    with pytest.raises(ProgramError, match="worst layer"):
        Story("t", worst="a")


def test_null_is_allowed_wherever_a_key_is_not_required() -> None:
    told = Story("t", metrics={"accuracy": {"ann": None}, "agreement": None}, fidelity=[{"node": "a", "sqnr_db": None}])
    assert told.fidelity[0]["sqnr_db"] is None
