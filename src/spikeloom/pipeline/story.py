"""
The story: everything the report shows, gathered from an evaluation, the counts and the program's records.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from spikeloom.convert import Unfold
from spikeloom.ir import Context, Program, Record, kwargs_of, population, run
from spikeloom.pipeline.advice import advice
from spikeloom.pipeline.evaluation import Evaluation
from spikeloom.pipeline.histories import front_of, history_of
from spikeloom.pipeline.tasks import task_of
from spikeloom.plan import Fuse, spike_share
from spikeloom.report import Story
from spikeloom.report.data import METRICS
from spikeloom.simulate import (
    ASSUMPTIONS,
    Counts,
    Fidelity,
    Recorder,
    SpikingModel,
    energy,
    executable,
    fidelity,
    level_of,
    populations,
    repeated,
    verdict,
    worst,
)

RASTER_POPULATIONS, RASTER_NEURONS = 3, 40


def story_of(
    found: Evaluation,
    counts: Counts,
    snn: SpikingModel,
    metrics: dict[str, Any],
    sample: Sequence[tuple[Tensor, ...]],
    dataset: str,
    note: str,
) -> Story:
    """The report's data for one network on one data set; `note` says what was chosen of it."""
    program, encoding = snn.program, str(metrics["encoding"])
    rows = fidelities(snn, sample, found.timesteps)
    hurt = worst(rows)
    table = energy(counts)
    shown = sorted(table, key=lambda row: row.network.startswith("SNN") and row.network != f"SNN ({encoding})")
    return Story(
        title=f"{program.settings.get('source', 'model')} on {dataset}",
        source=str(program.settings.get("source", "")),
        dataset=dataset,
        unit=task_of(program.settings).unit,
        settings={key: value for key, value in program.settings.items() if isinstance(value, str | int | float | list)},
        metrics={key: value for key, value in metrics.items() if key in METRICS},
        mcnemar=metrics["mcnemar"],
        plan=[dataclasses.asdict(row) for row in program.plan],
        spike_share=spike_share(program.plan) if program.plan else counts.spike_share(),
        curve=found.curve,
        fidelity=[_fidelity_row(row, counts, encoding) for row in rows],
        worst=hurt.node if hurt is not None else None,
        thresholds=thresholds_of(program),
        raster=raster_of(program, sample, found.timesteps),
        energy=[{**dataclasses.asdict(row), "total_pj": row.total_pj} for row in shown],
        assumptions=[*ASSUMPTIONS, f"This network sends {encoding} events. {verdict(table, encoding)}", *_data(note)],
        records=[_record(record) for record in program.records],
        recommendation=advice(metrics, hurt, program.records),
        history=history_of(program.records),
        front=front_of(program.records),
    )


def _data(note: str) -> list[str]:
    return [f"Data: {note}."] if note else []


def fidelities(snn: SpikingModel, sample: Sequence[tuple[Tensor, ...]], timesteps: int) -> tuple[Fidelity, ...]:
    """Each population against the ANN's activation it stands for, in the ANN as it was taken apart; none where the ANN was not kept."""
    if snn.ann is None:
        return ()
    apart = run([Fuse(), Unfold()], snn.ann, Context())
    return fidelity(snn.program, apart, sample, timesteps)


def _fidelity_row(row: Fidelity, counts: Counts, encoding: str) -> dict[str, Any]:
    events = next((count.events.get(encoding) for count in counts.rows if count.node == row.node), None)
    return {key: value for key, value in dataclasses.asdict(row).items() if key != "drop_db"} | {"events": events}


def thresholds_of(program: Program) -> list[dict[str, Any]]:
    """Each population's threshold over the histogram of what it saw in the ANN."""
    seen: dict[str, Any] = next((dict(record.numbers["histograms"]) for record in program.records if "histograms" in record.numbers), {})
    rows: list[dict[str, Any]] = []
    for node in populations(program):
        if node.name not in seen:
            continue
        row: dict[str, Any] = {"node": node.name, **seen[node.name]}
        if node.target is population:
            step, levels = float(program.tensor(node.args[1]).float().mean()), kwargs_of(node)["levels"]
            row |= {"step": step, "levels": levels, "threshold": step * levels}
        rows.append(row)
    return rows


def raster_of(program: Program, sample: Sequence[tuple[Tensor, ...]], timesteps: int) -> list[dict[str, Any]]:
    """The spikes of a few neurons of the first, a middle and the last population, for one sample."""
    nodes = populations(program)
    if not nodes or not sample:
        return []
    chosen = [nodes[place] for place in sorted({0, len(nodes) // 2, len(nodes) - 1})][:RASTER_POPULATIONS]
    recorder = Recorder(executable(program, timesteps), [node.name for node in chosen])
    with torch.no_grad():
        recorder.run(*(repeated(value[:1], timesteps) for value in sample[0]))
    return [_raster_row(node, program, recorder.kept[node.name], timesteps) for node in chosen]


def _raster_row(node: fx.Node, program: Program, spikes: Tensor, timesteps: int) -> dict[str, Any]:
    level = level_of(node, program, spikes)[0].reshape(timesteps, -1)
    count = min(RASTER_NEURONS, level.shape[1])
    picked = level[:, torch.linspace(0, level.shape[1] - 1, count).long()]
    events = [[int(t), int(neuron), int(picked[t, neuron])] for t, neuron in picked.nonzero().tolist()]
    return {"node": node.name, "timesteps": timesteps, "neurons": count, "events": events}


def _record(record: Record) -> dict[str, Any]:
    told = dataclasses.asdict(record)
    told["numbers"] = {key: value for key, value in told["numbers"].items() if key not in ("histograms", "history", "front")}
    return told
