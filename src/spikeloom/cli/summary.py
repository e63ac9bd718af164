"""The numbers of an evaluation as a table: the ANN, the spiking network and the control side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from spikeloom.report.measure import measure_of
from spikeloom.report.numerals import MISSING, count, decimal, duration, finite, joules, percent, probability, significant

NETWORKS = {"ann": "ANN", "snn": "SNN", "control": "control"}


def summary(metrics: Mapping[str, Any], title: str) -> Group:
    """What is printed of metrics in the form of metrics.json."""
    energy, seconds, measure = metrics["energy_pj"], metrics["seconds"], measure_of(metrics)
    values = measure.of(metrics)
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", *NETWORKS.values()):
        table.add_column(name, justify="right" if name else "left")
    table.add_row(measure.name.lower(), *(measure.written(values[name], 2) for name in NETWORKS))
    for name, cells in beside(metrics):
        table.add_row(name, *cells)
    table.add_row("energy per inference", f"{joules(energy['ann_fp32'])} (int8: {joules(energy['ann_int8'])})", joules(energy["snn"]), "")
    table.add_row("time per sample, here", duration(seconds["ann"]), duration(seconds["snn"]), "")
    return Group(table, *(Text(line) for line in lines(metrics)))


def beside(metrics: Mapping[str, Any]) -> list[tuple[str, tuple[str, str, str]]]:
    """The rows between what networks are judged by and what they cost: what they have in common with the ANN."""
    control: Mapping[str, Any] = metrics.get("of_control") or {}
    theirs = control.get("next_token_agreement", control.get("agreement"))
    agrees = (percent(metrics["agreement"], 2), percent(theirs, 2) if control else "")
    rows = [("agreement with the ANN", ("", *agrees))] if metrics["agreement"] is not None else []
    if "kl_nats" in metrics:
        rows.append(("nats from the ANN, a token", ("", decimal(metrics["kl_nats"], 4), decimal(control.get("kl_nats"), 4))))
    ranks: Mapping[str, Any] = metrics.get("rank_agreement") or {}
    if any(finite(value) for value in ranks.values()):
        rows.append(("rank agreement", ("", decimal(ranks["snn"], 4), decimal(ranks["control"], 4))))
    return rows


def noisy(metrics: Mapping[str, Any]) -> list[str]:
    """How the networks bear noise, a line a level; nothing where that was not measured."""
    found: Mapping[str, Mapping[str, float]] = metrics.get("accuracy_at_noise") or {}
    if not found:
        return []
    rows = [
        f"  {percent(float(at), 0)}: " + ", ".join(f"{NETWORKS[name]} {percent(row[at])}" for name, row in found.items())
        for at in found["snn"]
    ]
    return [f"right answers under noise ({', '.join(metrics['noise']['kinds'])}):", *rows]


def spiking(floating: Sequence[str], means: Sequence[str] = (), share: float | None = None) -> str:
    """Whether everything that is not linear is computed by neurons, which share is where not, and how many act on running means."""
    said = "every nonlinear operation is computed by neurons"
    if floating:
        by_spikes = f"{percent(share)} of the nonlinear operations are computed by neurons; " if finite(share) else ""
        said = f"{by_spikes}floating point stay: {', '.join(floating)}"
    many = "1 operation acts" if len(means) == 1 else f"{count(len(means))} operations act"
    return f"{said}; {many} on running means (named in the report)" if means else said


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """What is said under the table."""
    spikes, operations = count(metrics["spikes_per_inference"]), count(metrics["synaptic_operations"])
    said = [
        f"{count(metrics['samples'])} samples, T = {metrics['timesteps']}, N = {metrics['levels'] or MISSING}",
        f"{spikes} spikes and {operations} synaptic operations per inference",
    ]
    if finite(metrics.get("tokens")):
        said[0] += f", {count(metrics['tokens'])} next tokens"
    if "floating_operations" in metrics:
        said.append(spiking(metrics["floating_operations"], metrics.get("running_means") or (), metrics.get("nonlinear_share")))
    if seen := metrics.get("seen_in_calibration"):
        said.append(f"{count(seen)} of these samples were calibrated on: the address names a split or rows, which serve for both")
    test, early, took = metrics.get("mcnemar"), metrics.get("early_exit"), metrics["seconds"].get("conversion")
    if before := metrics.get("before"):
        measure = measure_of(before)
        operations = count(before["synaptic_operations"])
        said.append(f"before: {measure.name.lower()} {measure.written(measure.of(before)['snn'], 2)}, {operations} synaptic operations")
    if residue := metrics.get("residue"):
        means = ", ".join(f"{name} {significant(value)}" for name, value in residue["returns"].items())
        said.append(f"membranes between decisions: {residue['kept']}" + (f" (mean return: {means})" if means else ""))
    if chips := metrics.get("chips"):
        was, now = (", ".join(percent(value, 1) for value in chips[key]) for key in ("before", "after"))
        said.append(f"accuracy on chips it has not seen: {now}; before: {was}")
    if chosen := metrics.get("chosen"):
        said.append(f"chosen of {chosen['tried']} for {chosen['budget']}: {chosen['lost']} on {count(chosen['samples'])} training samples")
    if test is not None:
        said.append(
            f"right where the other is wrong: SNN {test['snn_only_right']}, control {test['control_only_right']} ({probability(test['p'])})"
        )
    if signs := metrics.get("sign_test"):
        better, worse = signs["snn_better"], signs["control_better"]
        said.append(f"nearer to what it should be: SNN on {better} {signs['unit']}, control on {worse} ({probability(signs['p'])})")
    said += noisy(metrics)
    searched: Mapping[str, str] = metrics.get("bio_calibration") or {}
    said += [f"Deep Bio-Calibration is {what.replace('_', ' ')}: {why}" for what, why in searched.items()]
    if early is not None:
        said.append(f"early exit: {early['mean_timesteps']:.2f} steps on average")
    said.extend(f"{NETWORKS.get(name, name)} not measured: {reason}" for name, reason in (metrics.get("reasons") or {}).items())
    return [*said, f"converted in {duration(took)}"] if took is not None else said
