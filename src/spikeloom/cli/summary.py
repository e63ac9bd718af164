"""The numbers of an evaluation as a table: the ANN, the spiking network and the control side by side."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from spikeloom.report.numerals import MISSING, count, duration, joules, percent, probability

NETWORKS = {"ann": "ANN", "snn": "SNN", "control": "control"}


def summary(metrics: Mapping[str, Any], title: str) -> Group:
    """What is printed of metrics in the form of metrics.json."""
    accuracy, energy, seconds = metrics["accuracy"], metrics["energy_pj"], metrics["seconds"]
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", *NETWORKS.values()):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("accuracy", *(percent(accuracy[name], 2) for name in NETWORKS))
    table.add_row("agreement with the ANN", "", percent(metrics["agreement"], 2), "")
    table.add_row("energy per inference", f"{joules(energy['ann_fp32'])} (int8: {joules(energy['ann_int8'])})", joules(energy["snn"]), "")
    table.add_row("time per sample, here", duration(seconds["ann"]), duration(seconds["snn"]), "")
    return Group(table, *(Text(line) for line in lines(metrics)))


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """What is said under the table."""
    spikes, operations = count(metrics["spikes_per_inference"]), count(metrics["synaptic_operations"])
    said = [
        f"{count(metrics['samples'])} samples, T = {metrics['timesteps']}, N = {metrics['levels'] or MISSING}",
        f"{spikes} spikes and {operations} synaptic operations per inference",
    ]
    test, early, took = metrics.get("mcnemar"), metrics.get("early_exit"), metrics["seconds"].get("conversion")
    if test is not None:
        said.append(
            f"right where the other is wrong: SNN {test['snn_only_right']}, control {test['control_only_right']} ({probability(test['p'])})"
        )
    if early is not None:
        said.append(f"early exit: {early['mean_timesteps']:.2f} steps on average")
    said.extend(f"{NETWORKS.get(name, name)} not measured: {reason}" for name, reason in (metrics.get("reasons") or {}).items())
    return [*said, f"converted in {duration(took)}"] if took is not None else said
