"""The page's text: what must stand on it, what must not, and that nothing in a story can break it."""

import dataclasses
import errno
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.report import stories

from spikeloom.errors import ResourceError
from spikeloom.ir import PlanRow, Record
from spikeloom.report import Story, numerals, page, render, write


class Text(HTMLParser):
    """Collects visible text, tags and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def test_the_numbers_are_on_the_page() -> None:
    text = Text(render(stories.story())).text
    for wanted in ("At T=1 with 15 levels the SNN is right on 90.0 % of 1,000 images", "95.0 %", "71,530", "12.3 M", "9.87 µJ", "98.9 %",
                   "The layer that hurts most is layer3_2_relu1: signal to error 12.0 dB", "The SNN alone is right on 21",
                   "40.6 M multiply-accumulates at 4.6 pJ", "Encoding: graded", "= exact", "≈ approximate", "~ floating",
                   "leave it out: the class is the same", "sqnr_gain_db", "15.3 s", "90.3 %", "scale_and_fire", "--levels 31"):  # fmt: skip
        assert wanted in text, wanted


def test_what_networks_bear_is_on_the_page() -> None:
    told = Text(render(stories.noisy())).text.replace("\N{NO-BREAK SPACE}", " ")
    for wanted in (
        "Under noise",
        "taught on samples with 0 % to 45 % noise",
        "cut to black and white first",
        "2,000 samples a level",
        "73.0 %",
    ):
        assert wanted in told, wanted
    html = render(stories.noisy())
    drawn = html[html.index('<section id="noise">') : html.index('<section id="refined">')]
    assert [drawn.count(f'class="mark {line}"') for line in ("ann", "snn", "control")] == [6, 6, 6]  # one in the legend
    assert "convert --method logic_gated --noise" in Text(render(stories.story())).text


def test_the_page_needs_nothing_else() -> None:
    made = Text(render(stories.story()))
    assert not {"img", "iframe", "object", "embed"} & set(made.tags)
    assert made.tags.count("script") == 1
    sources = [value for name, value in made.attributes if name in ("src", "srcset", "data", "action")]
    assert sources == []
    links = [value for name, value in made.attributes if name == "href"]
    assert all(link.startswith(("#", "data:image/svg+xml", "https://doi.org/", "https://arxiv.org/abs/")) for link in links)
    assert "@import" not in render(stories.story())
    assert "url(" not in render(stories.story())


def test_ids_are_unique_and_internal_links_lead_somewhere() -> None:
    made = Text(render(stories.story()))
    ids = [value for name, value in made.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for name, value in made.attributes if name == "href" and value.startswith("#")} <= set(ids)


def test_rendering_is_deterministic() -> None:
    assert render(stories.story()) == render(stories.story())


def test_every_missing_part_says_so_in_one_line() -> None:
    html = render(Story("t", reasons={"curve": "only T=1 was asked for.", "raster": "the network has no spikes to show."}))
    assert html.count('class="absent"') == len(page.ABSENT)
    assert "only T=1 was asked for." in html
    assert "the network has no spikes to show." in html
    assert "<table" not in html
    assert 'role="img"' not in html


def test_a_missing_accuracy_gives_its_reason() -> None:
    told = stories.story(
        metrics={"accuracy": {"ann": None, "snn": 0.9, "control": None}, "reasons": {"ann": "the folder holds no ANN."}, "samples": 10}
    )
    text = Text(render(told)).text
    assert "Not measured: the folder holds no ANN." in text
    assert "Not measured: no reason was given." in text


def test_names_are_escaped_wherever_they_stand() -> None:
    node = stories.HOSTILE
    told = stories.story(
        title=stories.HOSTILE,
        source=stories.HOSTILE,
        dataset=stories.HOSTILE,
        unit=stories.HOSTILE,
        settings={stories.HOSTILE: stories.HOSTILE},
        reasons={stories.HOSTILE: stories.HOSTILE},
        worst=node,
        fidelity=[{**stories.fidelity()[0], "node": node, "source": f"{stories.HOSTILE}2", "function": stories.HOSTILE}],
        thresholds=[{**stories.thresholds()[0], "node": node}],
        raster=[stories.raster(1, 8, 3, node, 0.9), stories.raster(3, 8, 3, node, 0.9)],
        energy=[{"network": stories.HOSTILE, "total_pj": 1.0, "operations": stories.HOSTILE}],
        assumptions=[stories.HOSTILE, f"https://example.org/{stories.HOSTILE}", f"`{stories.HOSTILE}`", "javascript:window.hacked=1"],
        plan=[
            {
                "node": node,
                "operation": stories.HOSTILE,
                "becomes": stories.HOSTILE,
                "status": "exact",
                "reason": stories.HOSTILE,
                "todo": stories.HOSTILE,
            }
        ],
        records=[
            {
                "name": stories.HOSTILE,
                "options": {stories.HOSTILE: [stories.HOSTILE]},
                "numbers": {stories.HOSTILE: {stories.HOSTILE: stories.HOSTILE}},
                "papers": [stories.HOSTILE],
            }
        ],
        recommendation=[stories.HOSTILE],
    )
    made = Text(render(told))
    assert made.tags.count("script") == 1
    assert "img" not in made.tags
    assert not [name for name, _ in made.attributes if name.startswith("on")]
    assert not [value for name, value in made.attributes if name == "href" and value.startswith("javascript")]


def test_numbers_that_are_none_do_not_break_the_page() -> None:
    html = render(stories.broken_numbers())
    drawn = re.findall(r'(?:\b(?:x|y|x1|x2|y1|y2|cx|cy|r|width|height|points|d)=")([^"]*)"', html)
    assert drawn
    assert not [value for value in drawn if "nan" in value or "inf" in value]
    assert numerals.UNDEFINED in html
    assert "exact" in html


def test_a_plan_of_two_hundred_operations_stays_small() -> None:
    assert len(render(stories.large(200)).encode()) < 2_000_000


def test_worst_falls_back_to_the_lowest_ratio() -> None:
    row = page.worst_row(dataclasses.replace(stories.story(), worst=None))
    assert row is not None
    assert row["node"] == stories.WORST
    assert page.worst_row(Story("t", fidelity=[{"node": "a", "sqnr_db": float("inf")}])) is None


def test_citations_become_links_once() -> None:
    assert page.prose("see https://example.org/a_(b), then") == (
        'see <a href="https://example.org/a_(b" rel="noreferrer">https://example.org/a_(b</a>), then'
    )
    assert 'href="https://arxiv.org/abs/2510.23383"' in page.prose("arXiv:2510.23383")
    assert 'href="https://doi.org/10.1109/ISSCC.2014.6757323"' in page.prose("(doi:10.1109/ISSCC.2014.6757323).")
    assert page.prose("a `b` <c>") == "a <code>b</code> &lt;c&gt;"
    assert page.references(stories.records())[1].startswith("One timestep")
    assert len(page.references(stories.records())) == 4


def test_key_numbers_are_the_known_ones_only() -> None:
    told = Story(
        "t", metrics={"energy_pj": {"snn": 1e6, "ann_int8": 2e6, "ann_fp32": None}, "seconds": {"snn": 2.0, "ann": None}, "agreement": None}
    )
    assert [(name, remark) for name, _, remark in page.tiles(told)] == [
        ("Energy, estimated", "0.50× the int8 ANN"),
        ("Run time", "of the SNN"),
    ]


def test_rows_of_the_program_fit_as_they_are() -> None:
    row = PlanRow("conv1", "conv2d", "convolution", "unsupported", reason="why so", todo="do this", macs=1000)
    record = Record("fold", {"all": True}, {"folded": 19}, ("arXiv:1712.05877",), 0.5)
    text = Text(render(Story("t", plan=[dataclasses.asdict(row)], records=[dataclasses.asdict(record)]))).text
    assert "conv1 conv2d ✕ unsupported convolution 1,000 0 no why so do this" in text
    assert re.search(r"fold 500 ms \[1\] all yes ?folded ?19 .*References ?arXiv:1712.05877", text)


def test_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "report.html"
    write(Story("first"), target)
    before = target.read_text("utf-8")
    assert "<h1>first</h1>" in before

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        write(Story("second"), target)
    assert target.read_text("utf-8") == before
    assert list(target.parent.iterdir()) == [target]
