"""The verdict's sentences: exactly what was measured, won or lost."""

import dataclasses
from typing import Any

import pytest
from tests.report import stories

from spikeloom.report import Story, numerals, sentence, text, verdict


def said(told: Story) -> str:
    return text(sentence(told)).replace(numerals.NBSP, " ")


def with_metrics(**changes: Any) -> Story:
    told = stories.story()
    return dataclasses.replace(told, metrics={**(told.metrics or {}), **changes})


def test_whole_sentence() -> None:
    assert said(stories.story()) == (
        "At T=1 with 15 levels the SNN is right on 90.0 % of 1,000 images; the ANN on 90.4 %, plain quantisation on 89.1 % (p = 0.031)."
    )


def test_two_decimals_from_five_thousand_samples_on() -> None:
    told = with_metrics(samples=10_000, accuracy={"snn": 0.8049, "ann": 0.8103, "control": None})
    assert said(told) == "At T=1 with 15 levels the SNN is right on 80.49 % of 10,000 images; the ANN on 81.03 %."


def test_without_labels_it_speaks_of_agreement_only() -> None:
    told = with_metrics(accuracy={"snn": None, "ann": None, "control": None}, agreement=0.974, samples=400)
    assert "gives the ANN's answer on 97.4 % of 400 images" in said(told)
    assert "right on" not in said(told)
    assert verdict.findings(told) == (verdict.Finding("0.75× the energy of the int8 ANN, estimated", "good"),)


def test_without_evaluation() -> None:
    assert said(Story("t")) == "The network was converted; it was not evaluated."
    assert "neither its accuracy nor its agreement" in said(stories.broken_numbers())


def test_roles_mark_the_numbers() -> None:
    roles = {span.role: span.text for span in sentence(stories.story()) if span.role}
    assert {key: value[:4] for key, value in roles.items()} == {"snn": "90.0", "ann": "90.4", "control": "89.1"}


@pytest.mark.parametrize(
    ("snn", "tone", "words"),
    [(0.904, "good", "As accurate as the ANN"), (0.9, "good", "0.4 points below"), (0.885, "plain", "1.9 points below"),
     (0.6, "bad", "30.4 points below"), (0.91, "good", "0.6 points above")],
)  # fmt: skip
def test_finding_against_the_ann(snn: float, tone: str, words: str) -> None:
    finding = verdict.findings(with_metrics(accuracy={"ann": 0.904, "snn": snn}))[0]
    assert finding.tone == tone
    assert words in finding.text


@pytest.mark.parametrize(
    ("snn", "p", "tone", "words"),
    [(0.9, 0.031, "good", "Better than"), (0.88, 0.031, "bad", "Worse than"),
     (0.9, 0.41, "plain", "No clear difference"), (0.9, None, "plain", "not tested")],
)  # fmt: skip
def test_finding_against_the_control(snn: float, p: float | None, tone: str, words: str) -> None:
    told = dataclasses.replace(with_metrics(accuracy={"snn": snn, "control": 0.891}), mcnemar={"p": p})
    finding = verdict.findings(told)[0]
    assert (finding.tone, words in finding.text) == (tone, True)


def test_energy_won() -> None:
    finding = verdict.energy_sentence(stories.story())
    assert finding is not None
    assert finding.tone == "good"
    assert "0.75" in finding.text


def test_energy_lost_is_said_with_where_it_goes() -> None:
    rows = [{"network": "ANN int8", "total_pj": 1e6}, {"network": "SNN", "compute_pj": 1e6, "memory_pj": 3e6, "total_pj": 4e6}]
    finding = verdict.energy_sentence(Story("t", energy=rows))
    assert finding is not None
    assert finding.tone == "bad"
    assert finding.text.replace(numerals.NBSP, " ") == (
        "The SNN loses here: it is estimated to need 4.0× the ANN in int8 (4.00 µJ against 1.00 µJ). Memory traffic is 75 % of it."
    )


def test_energy_unknown_is_not_guessed() -> None:
    assert verdict.energy_sentence(Story("t")) is None
    assert verdict.energy_sentence(stories.broken_numbers()) is None


def test_energy_rows_fall_back_to_the_totals() -> None:
    told = Story("t", metrics={"energy_pj": {"ann_fp32": 3.0, "ann_int8": None, "snn": 1.0}})
    assert [(row["network"], row["total_pj"]) for row in verdict.energy_rows(told)] == [("ANN fp32", 3.0), ("SNN", 1.0)]
