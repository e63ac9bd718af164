"""Advice: what is said depends on what was measured and on what was done; and what histories records tell."""

import dataclasses
from typing import Any

import pytest

from spikeloom.ir import Record
from spikeloom.pipeline.advice import advice
from spikeloom.pipeline.histories import front_of, history_of
from spikeloom.simulate import Fidelity

HURT = Fidelity("relu_3", "relu_3", "relu", 12.0, 0.97, 0.4, 0.02, 0.0, 3.5)


def records(*names: str, **spike: Any) -> list[Record]:
    options = {"method": "scale_and_fire", "placement": "uniform", **spike}
    return [Record("Spike", options, {}), *(Record(name, {}, {}) for name in names)]


def metrics(lost: float = 0.02, **changes: Any) -> dict[str, Any]:
    found = {"accuracy": {"ann": 0.9, "snn": 0.9 - lost}, "floating_operations": [], "energy_pj": {"snn": 1.0, "ann_int8": 2.0}}
    return {**found, "timesteps": 1, "levels": 15, **changes}


def said(found: dict[str, Any], *names: str, hurt: Fidelity | None = HURT, **spike: Any) -> str:
    return "\n".join(advice(found, hurt, records(*names, **spike)))


def test_a_network_as_good_as_its_ann_needs_no_advice() -> None:
    assert said(metrics(0.001), "Compensate") == ""


def test_what_is_behind_gets_the_cheapest_remedies_first() -> None:
    text = said(metrics(), "Compensate")
    for part in (
        "2.0 points under the ANN",
        "--levels 31",
        "--placement density",
        "spikeloom finetune DIR --epochs 1",
        "relu_3 loses most",
    ):
        assert part in text, part
    assert "--chunk-steps" not in text
    assert "--compensate" not in text
    assert "2.0% of its values are above its highest level" in text
    assert "--thresholds maximum" not in said(metrics(), "Compensate", hurt=dataclasses.replace(HURT, saturation=0.0))


@pytest.mark.parametrize(
    ("names", "spike", "changes", "there", "missing"),
    [
        ((), {}, {}, "--compensate", "calibrate DIR"),
        (("Compensate",), {"method": "lif"}, {"timesteps": 8}, "--timesteps 16", "--levels"),
        (("Compensate",), {"method": "if"}, {"timesteps": 8}, "--dual-threshold", "--levels"),
        (("Compensate",), {"method": "if", "dual": True}, {"timesteps": 8}, "--timesteps 16", "--dual-threshold"),
        (("Compensate",), {"method": "lif"}, {"timesteps": 8}, "spikeloom calibrate DIR", "--compensate"),
        (("Compensate", "LearnCompensation"), {"method": "if"}, {"timesteps": 8}, "--chunk-steps 4", "calibrate DIR"),
        (("LogicGate",), {}, {}, "more gates", "finetune"),
        (("Compensate", "FineTune"), {}, {}, "fine-tuned already", "finetune DIR"),
        (("Quantise", "Compensate"), {}, {}, "weights stay on their grid", "compress"),
        (("Compensate",), {"placement": "density"}, {}, "--levels 31", "--placement density"),
    ],
)
def test_advice_knows_what_was_done(
    names: tuple[str, ...], spike: dict[str, Any], changes: dict[str, Any], there: str, missing: str
) -> None:
    text = said(metrics(**changes), *names, **spike)
    assert there in text
    assert missing not in text


def test_energy_is_spoken_of_where_it_is_lost() -> None:
    dear = {"energy_pj": {"snn": 3.0, "ann_int8": 2.0}}
    assert "--weights 4" in said(metrics(0.0, **dear), "Compensate")
    assert "--sparsity" in said(metrics(0.0, **dear), "Quantise", "Compensate")


# --- histories -----------------------------------------------------------------------------------------------------------

START = {"divergence": 0.4, "accuracy": 0.9, "energy_pj": 1e6, "violation": 0.0}


def generation(number: int, best: float, mean: float | None, weight: float = 0.0) -> dict[str, Any]:
    return {"generation": number, "best": best, "mean": mean, "weight": weight}


def test_a_search_of_one_weight_tells_its_objective() -> None:
    steps = [generation(0, 0.35, 0.6), generation(1, 0.3, None)]
    rows = history_of([Record("Evolve", {}, {"history": steps, "start": START})])
    assert [(row["step"], row["best"], row.get("mean"), row["relative"]) for row in rows] == [
        (0, 0.4, None, False),
        (1, 0.35, 0.6, False),
        (2, 0.3, None, False),
    ]


def test_a_search_of_several_weights_tells_shares_of_the_start() -> None:
    steps = [generation(0, 0.3, 0.4, 0.0), generation(1, 0.6, 0.8, 0.4)]
    rows = history_of([Record("Evolve", {}, {"history": steps, "start": START})])
    assert [row["best"] for row in rows] == pytest.approx([1.0, 0.75, 0.75])
    assert [row["mean"] for row in rows[1:]] == pytest.approx([1.0, 1.0])
    assert all(row["relative"] for row in rows)


def test_a_training_tells_its_losses_and_all_come_in_turn() -> None:
    start = {"held_out_loss": 0.5, "held_out_accuracy": 0.8}
    epochs = [{"loss": 0.6, "held_out_loss": 0.4, "held_out_accuracy": None}]
    rows = history_of([Record("FineTune", {}, {"history": epochs, "start": start}), Record("Plan", {}, {}), *two_searches()])
    assert rows[0] == {"run": "Fine-tuning, step 1", "step": 0, "best": 0.5, "accuracy": 0.8}
    assert rows[1] == {"run": "Fine-tuning, step 1", "step": 1, "best": 0.4, "mean": 0.6}
    assert [row["run"] for row in rows[2::2]] == ["Search, step 3", "Search, step 4"]


def two_searches() -> list[Record]:
    point = {"divergence": 0.2, "accuracy": 1.2, "energy_pj": 2e6, "timesteps": 1, "picked": True}
    told = {"history": [generation(0, 0.3, 0.4)], "start": START}
    return [Record("Evolve", {}, {**told, "front": [point, point]}), Record("Evolve", {}, {**told, "front": [point]})]


def test_the_front_is_that_of_the_last_search() -> None:
    (row,) = front_of(two_searches())
    assert (row["agreement"], row["energy_pj"], row["picked"]) == (1.0, 2e6, True)
    assert front_of([]) == []
