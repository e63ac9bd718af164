"""The page in headless Chromium, from a file, at desktop and phone width: its numbers, no error, no request, no sideways scroll."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report import stories

from spikeloom.report import Story, write

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (1280, 390, 360)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


class Visit:
    """A story opened in the browser; what it logged and what it asked the network for."""

    def __init__(self, browser: Any, story: Story, folder: Path, width: int = 1280, **options: Any) -> None:
        path = folder / "report.html"
        write(story, path)
        self.address = path.as_uri()
        self.page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        self.logged: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.logged.append(message.text))
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.address)

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def check_sound(self) -> None:
        assert self.logged == []
        assert self.requests == [self.address]
        assert self.ask("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_are_seen(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, stories.story(), tmp_path, width, color_scheme=scheme)
    text = " ".join(visit.page.inner_text("body").split())
    wanted_texts = [
        "the SNN is right on 90.0 % of 1,000 images; the ANN on 90.4 %, plain quantisation on 89.1 % (p = 0.031)",
        *("95.0 %", "9.87 µJ", "71,530", "layer3_2_relu1", "12.0 dB", "worst", "189 µJ", "58 of 58 operations"),
        "0.75× the energy of the int8 ANN",
    ]
    for wanted in wanted_texts:
        assert wanted in text, wanted
    visit.check_sound()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_is_seen(browser: Any, tmp_path: Path, width: int) -> None:
    visit = Visit(browser, stories.language(), tmp_path, width)
    text = " ".join(visit.page.inner_text("#sweep").split())
    for wanted in (
        "SNN, T=4",
        "Plain quantisation",
        "5.349",
        "4.968",
        "5.714",
        "4.856",
        "94.21 %",
        "Same next token as the ANN",
        "on 20 blocks",
    ):
        assert wanted in text, wanted
    assert visit.ask("document.querySelectorAll('#sweep svg.plot:not(.swatch)').length") == 2
    shades = "[...document.querySelectorAll('#sweep table tr td:nth-child(2)')].map(c => getComputedStyle(c).backgroundColor)"
    assert len(set(visit.ask(shades))) > 2
    labels = "[...document.querySelectorAll('#sweep svg text')].map(t => t.getBoundingClientRect())"
    assert visit.ask(f"{labels}.filter(r => r.left < 0 || r.right > innerWidth).length") == 0
    visit.check_sound()


@pytest.mark.parametrize("width", WIDTHS)
def test_what_was_searched_and_refined_is_seen(browser: Any, tmp_path: Path, width: int) -> None:
    visit = Visit(browser, stories.refined(), tmp_path, width)
    searched, refined = (" ".join(visit.page.inner_text(part).split()) for part in ("#search", "#refined"))
    for wanted in (
        "N = 31, T = 1 is the best of 12 settings that keeps accuracy=0.5: 0.20 points on 512 training samples",
        *("To choose from: levels and steps", "picked", "energy per inference in µJ"),
        *("Search, step 7: Objective (less is better), as a share of the start", "Fine-tuning, step 8: Loss"),
        *("The best so far", "Mean of the generation", "Held out", "Trained on"),
    ):
        assert wanted in searched, wanted
    for wanted in ("Accuracy 86.20 % 90.00 %", "Energy, estimated 11.0 µJ 9.87 µJ", "Signal-to-error ratio", "Firing rate"):
        assert wanted in refined, wanted
    assert visit.ask("document.querySelectorAll('#search svg.plot:not(.swatch)').length") == 4
    assert visit.ask("document.querySelectorAll('#search .ring.chosen').length") == 2
    assert visit.ask("document.querySelectorAll('#refined .mark.hollow').length") == 2 * len(stories.LAYERS)
    visit.page.click("#refined summary")
    rows = visit.page.inner_text("#refined details")
    assert "9.0\N{NO-BREAK SPACE}dB" in rows
    labels = "[...document.querySelectorAll('#search svg text, #refined svg text')].map(t => t.getBoundingClientRect())"
    assert visit.ask(f"{labels}.filter(r => r.left < 0 || r.right > innerWidth).length") == 0
    visit.check_sound()


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_stay_legible_and_inside(browser: Any, tmp_path: Path, width: int) -> None:
    visit = Visit(browser, stories.story(timesteps=16), tmp_path, width)
    assert visit.ask("document.querySelectorAll('svg text').length") > 60
    labels = "[...document.querySelectorAll('svg text')].filter(t => t.getClientRects().length)"
    assert visit.ask(f"Math.min(...{labels}.map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))") >= 11
    assert visit.ask(f"{labels}.map(t => t.getBoundingClientRect()).filter(r => r.left < 0 || r.right > innerWidth).length") == 0
    visit.check_sound()


def test_first_screen_holds_the_verdict(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, stories.story(), tmp_path)
    for part in (".verdict", ".tracks", ".tiles"):
        box = visit.page.locator(part).bounding_box()
        assert box["y"] + box["height"] < 800


def test_plan_filters_and_sorts(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, stories.story(), tmp_path)
    seen = "[...document.querySelectorAll('#plan-table tbody tr')].filter(r => !r.hidden).length"
    visit.page.fill("input[type=search]", "layer1_0 relu")
    assert visit.ask(seen) == 2
    assert visit.page.inner_text("output") == "2 of 58 operations"
    visit.page.uncheck("input[data-status=approximate]")
    assert visit.ask(seen) == 0
    visit.page.fill("input[type=search]", "")
    assert visit.ask(seen) == 40
    column = "[...document.querySelectorAll('#plan-table tbody tr')].map(r => r.cells[6].textContent)"
    visit.page.click("#plan-table th:has-text('Parameters') button")
    visit.page.click("#plan-table th:has-text('Parameters') button")
    assert visit.ask(column)[:2] == ["9,232", "9,232"]
    assert visit.page.get_attribute("#plan-table th:has-text('Parameters')", "aria-sort") == "descending"
    visit.page.click("#plan-table th:has-text('#') button")
    assert visit.ask("document.querySelector('#plan-table tbody tr').cells[1].textContent") == "conv1"
    visit.check_sound()


def test_readable_without_scripts(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, stories.story(), tmp_path, java_script_enabled=False)
    assert visit.page.locator("#plan-table tbody tr").count() == 58
    assert visit.page.locator("#plan-table tbody tr").last.is_visible()
    assert not visit.page.locator(".controls").is_visible()


def test_hostile_names_run_nothing(browser: Any, tmp_path: Path) -> None:
    plan = [{**row, "node": stories.HOSTILE, "reason": stories.HOSTILE} for row in stories.plan()]
    fidelity = [{**row, "node": stories.HOSTILE} for row in stories.fidelity()]
    visit = Visit(browser, stories.story(title=stories.HOSTILE, plan=plan, fidelity=fidelity, worst=stories.HOSTILE), tmp_path, 390)
    assert visit.ask("window.hacked === undefined")
    assert visit.page.inner_text("h1") == stories.HOSTILE
    visit.check_sound()


def test_the_policy_stops_what_escaping_might_miss(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, stories.story(), tmp_path)
    visit.ask("(() => { const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s); })()")
    visit.ask("(() => { const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i); })()")
    assert visit.ask("fetch('http://127.0.0.1:9/y').then(() => 'sent', error => error.name)") == "TypeError"
    visit.page.wait_for_timeout(100)
    assert visit.ask("window.hacked === undefined")
    refused = [line for line in visit.logged if "Content Security Policy directive" in line]
    assert [sum(word in line for line in refused) >= 1 for word in ("script-src", "img-src", "default-src 'none'")] == [True] * 3


@pytest.mark.parametrize(
    ("made", "width"), [("empty", 1280), ("empty", 390), ("broken", 1280), ("broken", 390), ("large", 390), ("over_time", 390)]
)
def test_other_stories_are_sound(browser: Any, tmp_path: Path, made: str, width: int) -> None:
    told = {"empty": lambda: Story("t"), "broken": stories.broken_numbers, "large": stories.large, "over_time": lambda: stories.story(16)}[
        made
    ]()
    visit = Visit(browser, told, tmp_path, width)
    visit.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    visit.check_sound()
