"""The page of an adaptation: its words, its chart and film, its story as JSON, and the page in headless Chromium."""

import base64
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikeloom.errors import DataError, ProgramError
from spikeloom.report import AgentStory, clip, render_agent, text, write_agent
from spikeloom.report.agent_charts import BINS, binned, happened, returns_chart, runs
from spikeloom.report.agent_data import PICTURE
from spikeloom.report.agent_verdict import findings, sentence, tiles
from spikeloom.report.clip import MOST_BYTES


def frames(count: int = 12, noisy: bool = False) -> list[np.ndarray]:
    drawn = np.random.default_rng(0).integers(0, 255, (count, 200, 300, 3), dtype=np.uint8)
    if not noisy:
        drawn[:] = 255
        for place in range(count):
            drawn[place, 100:140, 10 * place : 10 * place + 40] = (200, 30, 30)
    return list(drawn)


def life(seed: int, top: float) -> dict[str, Any]:
    episodes = [[n, 10.0 if n <= 40 else 10 + (top - 10) * (n - 40) / 160, n > 40 and n % 3 > 0] for n in range(1, 201)]
    return {
        "seed": seed,
        "returned": top,
        "episodes": episodes,
        "events": [[20 + seed, "drift noticed"], [80, "trial ended"], [90, "led back"]],
    }


def found(seed: int, returned: float, recovered: float) -> dict[str, Any]:
    return {"seed": seed, "returned": returned, "error": 2.0, "recovered": recovered, "noticed": 20, "trials": 9, "led_back": 1}


METRICS: dict[str, Any] = {
    "returns": {
        "usual": 500.0, "usual_error": 0.0, "chance": 22.0, "chance_error": 1.0, "ann": 500.0, "ann_error": 0.0, "frozen": 10.0,
        "frozen_error": 0.1, "adapted": 390.0,
    },
    "recovered": 0.776,
    "recovered_by_seed": [0.9, 0.65],
    "seeds_found": [found(0, 451.0, 0.9), found(1, 329.0, 0.65)],
    "episodes": 264, "environments": 16, "judged": 64,
    "spikes_per_decision": {"frozen": 76.5, "adapted": 80.0},
    "energy_pj": {"ann_fp32": 65758.0, "ann_int8": 7431.5, "frozen": 57134.0, "adapted": 58000.0},
    "seconds": 61.0,
}  # fmt: skip


def story(**changes: Any) -> AgentStory:
    energy = [
        {"network": name, "total_pj": value, "compute_pj": value / 3, "memory_pj": 2 * value / 3, "operations": "4,610 MACs", **more}
        for name, value, more in (
            ("ANN, fp32", 65758.0, {}),
            ("ANN, int8", 7431.5, {}),
            ("spiking, frozen", 57134.0, {"spikes": 76.5}),
            ("spiking, adapted", 58000.0, {"spikes": 80.0}),
        )
    ]
    told: dict[str, Any] = {
        "title": "policy:dqn_cartpole in a changed CartPole-v1",
        "environment": "CartPole-v1",
        "shifts": ["sign=-1"],
        "metrics": METRICS,
        "lives": [life(0, 451.0), life(1, 329.0)],
        "changes": [
            {"layer": layer, "seed": seed, "weights": 320, "relative": 0.1 * place + 0.05 * seed, "largest": 0.2, "turned": 0.03}
            for place, layer in enumerate(("linear", "linear_1", "linear_2"), start=1)
            for seed in (0, 1)
        ],
        "energy": energy,
        "clips": [{"name": name, "picture": clip(frames()), "returned": value} for name, value in (("Before", 9.0), ("After", 451.0))],
        "rules": {
            "before": "if theta > 0: right",
            "after": "if theta > 0: left",
            "difference": "- if theta > 0: right\n+ if theta > 0: left",
        },
        "assumptions": ["45 nm prices"],
        "settings": {"episodes": 264, "plastic": "on drift"},
    }
    return AgentStory(**{**told, **changes})


def plain(words: str) -> str:
    return words.replace("\N{NO-BREAK SPACE}", " ")


# --- words ----------------------------------------------------------------------------------------------------------------


def test_the_first_sentence_says_what_was_lost_and_what_came_back() -> None:
    assert plain(text(sentence(story()))) == (
        "Under sign=-1 a return of 500 became 10.0; after 264 episodes of local learning it is 390: 78 % of what was lost is back."
    )
    lost_nothing = {**METRICS, "recovered": None}
    assert plain(text(sentence(story(metrics=lost_nothing)))).endswith("it is 390.")
    assert text(sentence(story(metrics={}))) == "The network went on learning; its returns were not measured."


def test_findings_judge_only_what_was_measured() -> None:
    said = {plain(each.text): each.tone for each in findings(story())}
    assert said == {
        "1 of 2 seeds have 70 % or more of the lost return back": "plain",
        "No seed ended below the frozen network by more than noise": "good",
        "Drift noticed after 20 to 21 episodes (2 of 2 seeds)": "plain",
        "Led back to better weights 2 times": "plain",
        "7.8× the energy of the int8 ANN a decision": "bad",
    }
    worse = {**METRICS, "seeds_found": [found(0, 4.0, -0.01), found(1, 8.0, -0.004)]}
    assert "Below the frozen network by more than noise: seeds 0" in [each.text for each in findings(story(metrics=worse))]
    assert findings(story(metrics={}, lives=[])) == ()
    unnoticed = story(lives=[{**life(0, 10.0), "events": []}])
    assert "No drift was noticed, and nothing was learnt" in [each.text for each in findings(unnoticed)]


def test_what_the_agent_says_of_its_body_is_told() -> None:
    one, other = found(0, 451.0, 0.9), found(1, 329.0, 0.65)
    both = {**METRICS, "seeds_found": [{**one, "body": "actuators are reversed: 0"}, {**other, "body": None}]}
    said = [each.text for each in findings(story(metrics=both))]
    assert "The agent says of its body: actuators are reversed: 0 (1 of 2 seeds)" in said
    alone = {**METRICS, "seeds_found": [{**one, "body": "actions come 2 control steps late"}]}
    assert "The agent says of its body: actions come 2 control steps late" in [each.text for each in findings(story(metrics=alone))]


def test_tiles_leave_out_what_is_not_known() -> None:
    assert [name for name, _, _ in tiles(story(metrics={"episodes": 3, "environments": 1}))] == ["Episodes"]
    assert ("Adapted", "390", "329 to 451 over 2 seeds") in tiles(story())


# --- the chart, the film, the story ----------------------------------------------------------------------------------------


def test_bins_are_means_of_seeds_with_the_worst_and_the_best() -> None:
    lives = [{"episodes": [[1, 10.0, False], [2, 20.0, False], [48, 7.0, True]]}, {"episodes": [[1, 40.0, False], [48, 9.0, True]]}]
    assert binned(lives, False, 48) == [(1.0, 27.5, 15.0, 40.0)]
    assert binned(lives, True, 48) == [(47.0, 8.0, 7.0, 9.0)]
    assert len(binned([life(0, 100.0)], False, 200)) <= BINS


def test_the_chart_has_a_band_for_several_seeds_and_a_mark_for_each_drift() -> None:
    drawn = returns_chart(story())
    assert drawn.count('class="band snn"') == 1
    assert drawn.count('class="leader"') == 2
    assert "led back at episode 90 (seed 1)" in drawn
    assert 'class="band' not in returns_chart(story(lives=[life(0, 451.0)]))
    assert returns_chart(story(lives=[])) == ""
    assert [what for what, _ in happened(story().lives)] == ["drift noticed", "led back"]


def test_a_film_moves_and_is_small() -> None:
    made = clip(frames())
    film = Image.open(io.BytesIO(base64.b64decode(made.removeprefix(PICTURE))))
    assert (film.n_frames, film.width, film.info["duration"]) == (12, 300, 50)  # pyright: ignore[reportAttributeAccessIssue]
    large = clip(frames(60, noisy=True))
    assert len(base64.b64decode(large.removeprefix(PICTURE))) <= MOST_BYTES
    with pytest.raises(DataError):
        clip([])


def test_a_difference_is_told_in_runs() -> None:
    assert runs("a\n+ b\n+ c\n- d\n~ e") == [("", "a"), ("added", "+ b\n+ c"), ("removed", "- d"), ("moved", "~ e")]


def test_a_story_goes_through_json() -> None:
    again = AgentStory.from_json(json.loads(json.dumps(story().to_json())))
    assert render_agent(again) == render_agent(story())
    with pytest.raises(ProgramError, match="no story of an adaptation"):
        AgentStory.from_json({"form": "logic_gated", "title": "x"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"lives": [{**life(0, 1.0), "returned": "many"}]},
        {"clips": [{"name": "x", "picture": "https://example.org/x.gif", "returned": 1.0}]},
        {"energy": [{"network": "x"}]},
        {"changes": [{"layer": "x", "relative": None}]},
    ],
)
def test_what_cannot_be_shown_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match=next(iter(wrong))):
        story(**wrong)


def test_the_page_escapes_what_it_is_told_and_hides_rules_that_are_not_there() -> None:
    evil = "<script>alert(1)</script>"
    page = render_agent(story(title=evil, rules={"before": evil}, shifts=[evil]))
    assert evil not in page
    assert 'id="rules"' in page
    assert 'id="rules"' not in render_agent(story(rules={}))
    assert "nothing to draw with" in render_agent(story(clips=[], reasons={"clip": "nothing to draw with"}))


TOLD: dict[str, Any] = {
    "kept_seed": 0,
    "guards": [{"name": "near the end", "when": "x > 2", "lived": 1234, "gave_way": 5, "frozen": 17, "adapted": 30}],
    "decisions": {"lived": 9000, "frozen": 640, "adapted": 3000},
    "taught": {
        "speaks": 0.4, "before": 0.1, "after": 0.975, "kept": 0.934, "returned": 172.0, "error": 4.9,
        "frozen_obeys": 0.05, "taught_obeys": 0.645, "adapted_obeys": 0.9418,
    },
    "rules": {
        "before": {"fidelity": 0.987, "returned": 9.0, "network": 9.5, "rules": 2},
        "after": {"fidelity": 0.956, "returned": 433.0, "network": 451.0, "rules": 3},
        "act_differently": 0.6,
    },
}  # fmt: skip


def test_guards_lessons_and_how_far_rules_are_the_network_are_said() -> None:
    told = story(metrics={**METRICS, **TOLD})
    said = plain(text_of(render_agent(told)))
    for wanted in (
        "98.7 % of its decisions on unseen episodes; return of the rules alone 9.00, of the network 9.50",
        "near the end x > 2 17 1,234 30 5",
        "of decisions 640 9,000 3,000",
        "Frozen 5.0 % 10.0 0.100",
        "After the lesson 64.5 % 172 4.90",
        "Adapted 94.2 % 451 2.00",
        "obeyed in 10.0 % before and 97.5 % after, and in 93.4 % of the others it does what it did",
        "Guards changed 1.0 % of the adapted network's decisions",
        "It does what the person's rules say in 94.2 % of the states they speak of",
    ):
        assert wanted in said, wanted
    assert "vetoes.jsonl" not in render_agent(story())
    without = render_agent(story(rules={}, reasons={"rules": "here actions are numbers."}))
    assert "here actions are numbers." in without
    assert 'href="#rules"' in without


def text_of(page: str) -> str:
    """The words of a page, without its marks."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


# --- in a browser ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_is_seen_without_an_error_a_request_or_a_sideways_scroll(browser: Any, tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    write_agent(story(metrics={**METRICS, **TOLD}), path)
    page, logged, requests = browser.new_page(viewport={"width": width, "height": 800}), list[str](), list[str]()
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    seen = " ".join(page.inner_text("body").split())
    for wanted in (
        "sign=-1",
        "78 % of what was lost is back",
        "seed 1",
        "Before, return of this episode 9.00",
        "linear_2",
        "58.0 nJ",
        "near the end",
        "After the lesson",
    ):
        assert wanted in plain(seen), wanted
    assert logged == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
