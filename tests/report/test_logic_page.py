"""The page of a logic-gated network: its words, its charts and pictures, its story as JSON, and the page in headless Chromium."""

import base64
import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.report import stories

from spikeloom.errors import ProgramError
from spikeloom.report import LogicStory, render_logic, text, write_logic
from spikeloom.report.logic_charts import confusion_picture, lines_of, noise_chart, picture, shade
from spikeloom.report.logic_verdict import findings, sentence, size, tiles

CURVE = [
    {"noise": 0.0, "network": 1.0, "bayes": 1.0, "twin_noise": 1.0, "twin_clean": 1.0},
    {"noise": 0.2, "network": 1.0, "bayes": 1.0, "twin_noise": 1.0, "twin_clean": 0.93},
    {"noise": 0.4, "network": 0.9991, "bayes": 0.9998, "twin_noise": 0.9995, "twin_clean": 0.41},
    {"noise": 0.5, "network": 0.1012, "bayes": 0.0984, "twin_noise": 0.1003, "twin_clean": 0.0992},
]
METRICS: dict[str, Any] = {
    "accuracy_by_kind": None,
    "bayes_limit_at_noise": {"0.0": 1.0},
    "multiplications": 0,
    "additions": 3862.4,
    "gates": 12,
    "input_bits": 784,
    "weights": 7840,
    "zero_weights": 0.031,
    "weight_bytes": 1960,
    "float_weight_bytes": 31360,
    "energy_pj": {"ann_fp32": 114564.0, "ann_int8": 12177.0, "snn": 4500.0},
    "samples": 20000,
    "noise": {"trained": True},
    "training": {"network": {"epochs": 20, "seconds": 12.0}},
    "seconds": 31.0,
}


def story(**changes: Any) -> LogicStory:
    told: dict[str, Any] = {
        "title": "Logic-gated network on prototypes:784x10/0",
        "dataset": "prototypes:784x10/0",
        "kinds": ["bit_flip"],
        "metrics": METRICS,
        "curve": CURVE,
        "confusion": {"0.0": [[2000, 0], [0, 2000]], "0.4": [[1990, 10], [4, 1996]]},
        "pictures": [{"name": f"gate {n}", "rows": [[1, 0, -1], [0, 1, 1]], "most": 1} for n in range(10)],
        "arranged": "In the inputs' places.",
        "layers": [
            {"node": "staircase", "what": "threshold gates", "gates": 784, "rate": 0.497},
            {"node": "linear_default", "what": "ternary synapses", "weights": 7840, "additions": 3862.4, "multiplications": 0},
        ],
        "energy": [
            {"network": "floating twin, int8", "compute_pj": 2352.0, "memory_pj": 9825.0, "total_pj": 12177.0, "operations": "7,840 MACs"},
            {
                "network": "logic-gated network",
                "compute_pj": 465.0,
                "memory_pj": 3905.0,
                "total_pj": 4370.0,
                "operations": "3,862 additions",
            },
        ],
        "assumptions": ["45 nm prices"],
        "settings": {"epochs": 20, "noise_range": [0.0, 0.45], "hidden": "none"},
    }
    return LogicStory(**{**told, **changes})


# --- words ----------------------------------------------------------------------------------------------------------------


def plain(words: str) -> str:
    return words.replace("\N{NO-BREAK SPACE}", " ")


def test_the_first_sentence_says_how_good_it_is_without_noise_and_with() -> None:
    said = "The network is right on 100.00 % of 20,000 samples without noise, on 99.91 % with 40 % of the bits turned over."
    assert plain(text(sentence(story()))) == said
    only = plain(text(sentence(story(curve=CURVE[2:]))))
    assert only == "The network is right on 99.91 % with 40 % of the bits turned over."
    assert plain(text(sentence(story(curve=CURVE[:1])))) == "The network is right on 100.00 % of 20,000 samples."
    assert text(sentence(story(curve=[]))) == "The network was trained; it was not evaluated."


def test_findings_judge_against_what_was_measured() -> None:
    said = {plain(finding.text): finding.tone for finding in findings(story())}
    assert said == {
        "0.1 points below the Bayes limit at most (at 40 %)": "good",
        "0.0 points below the floating twin at most (at 40 %)": "good",
        "Up to 58.9 points above the twin that never met noise (at 40 %)": "good",
        "No multiplication": "good",
    }
    assert [finding.text for finding in findings(story(curve=[{"noise": 0.0, "network": 1.0}], metrics={}))] == []


def test_what_is_bad_is_said() -> None:
    curve = [{"noise": 0.4, "network": 0.5, "bayes": 0.9, "twin_clean": 0.6}]
    said = {plain(finding.text): finding.tone for finding in findings(story(curve=curve, metrics={**METRICS, "multiplications": 7}))}
    assert said == {
        "40.0 points below the Bayes limit at most (at 40 %)": "bad",
        "Nowhere above the floating twin that never met noise": "bad",
        "7 multiplications an inference": "bad",
    }


def test_tiles_hold_what_is_known() -> None:
    named = {name: (plain(number), remark) for name, number, remark in tiles(story())}
    assert named["Memory of weights"] == ("1.9 KiB", "16× smaller than in fp32")
    assert named["Multiplications"] == ("0", "per inference, counted")
    assert tiles(story(metrics={})) == []
    assert [size(value) for value in (12, 2048, 3 * 2**20, None)] == ["12 bytes", "2.0 KiB", "3.0 MiB", "–"]


# --- charts ---------------------------------------------------------------------------------------------------------------


def test_the_chart_draws_every_line_that_was_measured() -> None:
    drawn = noise_chart(CURVE, 20000)
    assert [key for key, _ in lines_of(CURVE)] == ["bayes", "twin_noise", "twin_clean", "network"]
    for line in ("snn", "agreement", "ann", "control"):
        assert drawn.count(f'class="mark {line}"') == 4, line
        assert f'class="line {line}"' in drawn
    assert "Bayes limit at 40\N{NO-BREAK SPACE}% noise: 99.98\N{NO-BREAK SPACE}%" in drawn
    assert 'class="band"' in drawn
    assert 'class="band"' not in noise_chart(CURVE, None)


def test_what_was_not_measured_leaves_a_gap() -> None:
    curve = [dict(row) for row in CURVE]
    curve[1]["network"] = None
    drawn = noise_chart(curve, 20000)
    assert drawn.count('class="mark snn"') == 3
    assert noise_chart(CURVE[:1], 20000) == ""
    assert noise_chart([], 20000) == ""


def test_weights_are_blue_above_0_orange_below_and_clear_at_0() -> None:
    data = picture([[1, 0, -2]], 2)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,")))))
    assert pixels.tolist() == [[[11, 99, 165, 128], [0, 0, 0, 0], [168, 84, 0, 255]]]


def test_a_confusion_picture_shades_shares_of_each_row() -> None:
    data = confusion_picture([[3, 1], [0, 0]])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,")))))
    assert pixels[..., 3].tolist() == [[191, 64], [0, 0]]
    assert [shade(count, 10) for count in (0, 1, 5, 10)] == ["", "heat0", "heat3", "heat5"]


# --- the story ------------------------------------------------------------------------------------------------------------


def test_a_story_comes_back_from_json() -> None:
    told = json.loads(json.dumps(story().to_json()))
    assert json.loads(json.dumps(LogicStory.from_json(told).to_json())) == told
    assert render_logic(LogicStory.from_json(told)) == render_logic(story())
    assert told["form"] == "logic_gated"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"curve": [{"noise": 2.0}]}, r"curve\[0\].noise"),
        ({"curve": [{"noise": 0.1, "bayes": "much"}]}, r"curve\[0\].bayes"),
        ({"confusion": {"0.0": [[1, 2]]}}, r"confusion\[0.0\]"),
        ({"pictures": [{"name": "g", "rows": [[1], [1, 2]], "most": 1}]}, r"pictures\[0\].rows"),
        ({"energy": [{"network": "n"}]}, r"energy\[0\].total_pj"),
    ],
)
def test_what_cannot_be_shown_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        story(**changes)


def test_a_story_of_something_else_is_refused() -> None:
    for told in ({"title": "t"}, {**story().to_json(), "plan": []}, {"form": "logic_gated"}):
        with pytest.raises(ProgramError, match="no story of a logic-gated network"):
            LogicStory.from_json(told)


# --- the page -------------------------------------------------------------------------------------------------------------


def test_the_page_holds_everything() -> None:
    page = plain(render_logic(story()))
    for wanted in (
        "Accuracy over noise",
        "At 40 % noise",
        "1,990",
        "gate 9",
        "In the inputs&#39; places.",
        "linear_<wbr>default",
        "45 nm prices",
    ):
        assert wanted in page, wanted
    assert page.count("data:image/png;base64,") == 10
    assert "The network has only ever seen noisy ones." in page


def test_a_claim_of_having_seen_only_noise_is_made_only_where_it_is_true() -> None:
    claim = "only ever seen noisy"
    assert claim not in render_logic(story(settings={"consistency": 0.5}))
    assert claim not in render_logic(story(metrics={**METRICS, "noise": {"trained": False}}))


def test_an_empty_story_says_what_is_missing() -> None:
    page = render_logic(LogicStory("t"))
    assert page.count("Not shown:") == 6


def test_names_are_escaped() -> None:
    page = render_logic(story(title=stories.HOSTILE, dataset=stories.HOSTILE, kinds=[stories.HOSTILE], arranged=stories.HOSTILE))
    assert stories.HOSTILE not in page


def test_many_classes_are_a_picture() -> None:
    table = np.eye(30, dtype=int).tolist()
    page = render_logic(story(confusion={"0.0": table}))
    assert page.count('class="matrix"') == 1


# --- in a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-sync"])
        yield running
        running.close()


BY_KIND = {"gaussian": {"0.4": 0.5}, "jitter": {"0.4": 0.7}}
STORIES = {
    "whole": story,
    "empty": lambda: LogicStory("t"),
    "kinds": lambda: story(kinds=list(BY_KIND), metrics={**METRICS, "accuracy_by_kind": BY_KIND}),
    "ten classes": lambda: story(confusion={"0.0": (2000 * np.eye(10, dtype=int)).tolist()}),
    "hostile": lambda: story(title=stories.HOSTILE * 3, dataset=stories.HOSTILE, layers=[{"node": stories.HOSTILE, "what": "gates"}]),
}  # fmt: skip


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", STORIES)
def test_the_page_is_sound_in_a_browser(browser: Any, tmp_path: Path, name: str, width: int) -> None:
    path = tmp_path / "report.html"
    write_logic(STORIES[name](), path)
    page = browser.new_page(viewport={"width": width, "height": 800})
    logged, requests = list[str](), list[str]()
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert logged == []
    assert [address for address in requests if not address.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("window.hacked === undefined")
    labels = "[...document.querySelectorAll('svg text')].filter(t => t.getClientRects().length).map(t => t.getBoundingClientRect())"
    assert page.evaluate(f"{labels}.filter(r => r.left < 0 || r.right > innerWidth).length") == 0
    pictures = "[...document.querySelectorAll('.gates img')]"
    assert page.evaluate(f"{pictures}.every(i => i.complete && i.naturalWidth === 3 && i.getBoundingClientRect().width > 60)")
    if name == "whole":
        seen = plain(" ".join(page.inner_text("body").split()))
        for wanted in ("on 99.91 % with 40 % of the bits turned over", "No multiplication", "1,990", "4.37 nJ", "16× smaller than in fp32"):
            assert wanted in seen, wanted
        assert page.locator(".gates img").count() == 10
    page.close()


def test_a_story_is_not_changed_once_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        story().title = "other"  # pyright: ignore[reportAttributeAccessIssue]
