"""What networks are judged by: perplexity and embeddings in place of accuracy, in the sentence, the findings, the charts and the table."""

import dataclasses
import math
from typing import Any

import pytest
from tests.report import stories
from tests.report.test_charts import marks
from tests.report.test_page import Text

from spikeloom.errors import ProgramError
from spikeloom.report import Story, charts, numerals, render, sentence, text, verdict
from spikeloom.report.measure import ACCURACY, COSINE, PERPLEXITY, measure_of
from spikeloom.report.page import tiles

PERPLEXITIES = {"ann": 4.1075, "snn": 4.1262, "control": 4.176}
NONE = dict.fromkeys(("ann", "snn", "control"))


def language(**changes: Any) -> Story:
    """A language model's story, with parts of its metrics changed."""
    told = stories.story()
    metrics: dict[str, Any] = {
        **(told.metrics or {}),
        "accuracy": NONE,
        "agreement": 0.9578,
        "perplexity": PERPLEXITIES,
        "bits_per_token": {"ann": 2.038, "snn": 2.045, "control": 2.062},
        "next_token_agreement": 0.9578,
        "kl_nats": 0.0064,
        "sign_test": {"unit": "blocks", "snn_better": 76, "control_better": 24, "p": 1e-7},
        "tokens": 12700,
        "samples": 100,
        "floating_operations": [],
        "reasons": {"accuracy": "judged by its perplexity"},
    }
    curve = [{"timesteps": t, "perplexity": {**PERPLEXITIES, "snn": 4.2 - 0.01 * t}, "agreement": 0.9, "kl_nats": 0.01} for t in (1, 2, 4)]
    mcnemar = {"snn_only_right": 326, "control_only_right": 257, "p": 0.0048}
    return dataclasses.replace(told, unit="blocks", metrics={**metrics, **changes}, curve=curve, mcnemar=mcnemar)


def embeddings(**changes: Any) -> Story:
    """An encoder's story."""
    told = stories.story()
    metrics: dict[str, Any] = {
        **(told.metrics or {}),
        "accuracy": NONE,
        "agreement": None,
        "cosine": {"snn": 0.9931, "control": 0.981},
        "rank_agreement": {"snn": 0.9912, "control": 0.97},
        "sign_test": {"unit": "sentences", "snn_better": 450, "control_better": 50, "p": 1e-9},
        "samples": 500,
        "floating_operations": ["div: aten.div"],
    }
    curve = [{"timesteps": 1, "cosine": metrics["cosine"], "rank_agreement": metrics["rank_agreement"]}]
    return dataclasses.replace(told, unit="sentences", metrics={**metrics, **changes}, curve=curve, mcnemar=None)


def said(told: Story) -> str:
    return text(sentence(told)).replace(numerals.NBSP, " ")


def test_networks_are_judged_by_what_their_metrics_hold() -> None:
    assert measure_of(stories.story().metrics) is measure_of(None) is ACCURACY
    assert measure_of(language().metrics) is PERPLEXITY
    assert measure_of(embeddings().metrics) is COSINE


def test_a_row_of_the_curve_gives_the_networks_values() -> None:
    assert ACCURACY.of({"accuracy": 0.9, "ann": 0.95, "control": None}) == {"ann": 0.95, "snn": 0.9, "control": None}
    assert PERPLEXITY.of({"perplexity": PERPLEXITIES, "ann": 1}) == PERPLEXITIES
    assert COSINE.of({"cosine": {"snn": 0.9}}) == {"ann": None, "snn": 0.9, "control": None}


def test_the_sentence_of_a_language_model() -> None:
    assert said(language()) == (
        "At T=1 with 15 levels the SNN has a perplexity of 4.126 on 100 blocks of text; the ANN 4.107, plain quantisation 4.176 "
        "(p < 0.001). It foresees the ANN's next token 95.78 % of the time."
    )
    alone = language(perplexity={"ann": None, "snn": 4.1262, "control": None}, next_token_agreement=None)
    assert said(alone) == "At T=1 with 15 levels the SNN has a perplexity of 4.126 on 100 blocks of text."


def test_the_sentence_of_an_encoder() -> None:
    assert said(embeddings()) == (
        "At T=1 with 15 levels the SNN embeds 500 sentences with a mean cosine of 0.9931 to the ANN; plain quantisation 0.9810 "
        "(p < 0.001). All pairs of sentences are ranked alike by 0.9912 (Spearman)."
    )


def test_a_perplexity_that_is_not_known_leaves_the_agreement() -> None:
    assert "gives the ANN's next token on 95.78 % of 100 blocks" in said(language(perplexity=NONE))
    assert "neither its perplexity nor its agreement" in said(language(perplexity=NONE, agreement=None))


@pytest.mark.parametrize(
    ("snn", "tone", "words"),
    [(4.11, "good", "0.1 % above"), (4.0, "good", "2.6 % below"), (4.3, "plain", "4.7 % above"), (8.0, "bad", "94.8 % above")],
)
def test_finding_against_the_ann(snn: float, tone: str, words: str) -> None:
    finding = verdict.findings(language(perplexity={**PERPLEXITIES, "snn": snn}))[0]
    assert (finding.tone, finding.text.replace(numerals.NBSP, " ")) == (tone, f"Perplexity {words} the ANN's")


@pytest.mark.parametrize(
    ("snn", "p", "tone", "words"),
    [(4.1, 0.001, "good", "Better"), (4.3, 0.001, "bad", "Worse"), (4.1, 0.3, "plain", "No clear"), (4.1, None, "plain", "not tested")],
)
def test_finding_against_the_control(snn: float, p: float | None, tone: str, words: str) -> None:
    told = language(perplexity={**PERPLEXITIES, "snn": snn}, sign_test=None if p is None else {"p": p})
    finding = verdict.findings(told)[1]
    assert (finding.tone, words in finding.text) == (tone, True)


@pytest.mark.parametrize(
    ("floating", "words"),
    [([], "Every nonlinear operation is computed by neurons"), (["a"], "1 operation stays floating point"),
     (["a", "b"], "2 operations stay floating point")],
)  # fmt: skip
def test_finding_of_what_stays_floating(floating: list[str], words: str) -> None:
    assert words in [finding.text for finding in verdict.findings(language(floating_operations=floating))]


def test_finding_counts_what_acts_on_running_means() -> None:
    told = language(floating_operations=[], running_means=["spike_exp", "matmul"])
    assert "Every nonlinear operation is computed by neurons, 2 on running means" in [finding.text for finding in verdict.findings(told)]


def test_tracks_of_a_perplexity_have_one_scale_and_no_interval() -> None:
    tracks = charts.tracks(PERPLEXITIES, 100, PERPLEXITY)
    (point,) = marks(tracks["snn"], "mark snn")
    assert float(point.get("cx", "").rstrip("%")) == pytest.approx(26.2)  # from 4.1 to 4.2
    assert all(f"{line.name}: {PERPLEXITY.written(PERPLEXITIES[line.key])}" in tracks[line.key] for line in charts.OVER_TIME)
    assert not any("whisker" in drawn for drawn in tracks.values())
    assert [tick.text for tick in marks(tracks["control"], "tick")] == ["4.1", "4.125", "4.15", "4.175", "4.2"]
    assert set(charts.tracks({**NONE, "snn": 7.0}, 100, PERPLEXITY)) == {"snn"}
    assert charts.tracks({**NONE, "snn": math.nan}, 100, PERPLEXITY) == {}


def test_the_curve_of_a_perplexity_has_its_own_axis_and_no_band() -> None:
    drawn = charts.curve_chart(language().curve, charts.OVER_TIME, 100, PERPLEXITY)
    heights = [float(point.get("cy", "nan")) for point in marks(drawn, "mark snn")]
    assert heights == sorted(heights)  # it falls
    assert not marks(drawn, "band")
    assert "T=4: ANN 4.107, Plain quantisation 4.176, SNN 4.160" in drawn


def test_the_page_of_a_language_model_shows_perplexities_and_no_accuracy() -> None:
    shown = Text(render(language())).text
    for words in (
        "Perplexity over time",
        "Perplexity (less is better), on 100 blocks",
        "KL, nats a token",
        "alone is right on 326, plain quantisation alone on 257 next tokens",
        "nearer to what it should be on 76, plain quantisation on 24 blocks",
        "same next token as the ANN",
        "Bits per token",
    ):
        assert words in shown
    assert "Right answers" not in shown
    assert "Not measured" not in shown


def test_the_page_of_an_encoder_shows_cosines_and_ranks() -> None:
    shown = Text(render(embeddings())).text
    for words in (
        "Cosine over time",
        "Mean cosine to what the ANN gives",
        "0.9931",
        "Rank agreement",
        "on 450, plain quantisation on 50",
    ):
        assert words in shown
    assert "Not measured" not in shown  # the ANN has no cosine to itself


def test_numbers_that_are_none_break_nothing() -> None:
    bad = language(perplexity=dict.fromkeys(("ann", "snn", "control"), math.nan), kl_nats=math.inf, bits_per_token=NONE, sign_test={})
    assert "<html" in render(bad)
    assert not [name for name, _, _ in tiles(bad) if name in ("Divergence", "Bits per token")]


@pytest.mark.parametrize(
    "changes", [{"perplexity": 4.1}, {"floating_operations": "a"}, {"kl_nats": "x"}, {"next_token_agreement": 95}, {"sign_test": 3}]
)
def test_metrics_of_the_wrong_kind_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match=next(iter(changes))):
        language(**changes)


def test_json_keeps_a_language_models_story() -> None:
    assert Story.from_json(language().to_json()).to_json() == language().to_json()
