"""The numbers of a logic-gated network as a table: accuracy at every level of noise, beside what it is judged against."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from spikeloom.report.numerals import count, duration, joules, percent

COLUMNS = {"bayes": "Bayes limit", "twin_noise": "floating, with noise", "twin_clean": "floating, without"}


def noise_table(metrics: Mapping[str, Any]) -> Group:
    """What is printed of metrics in the form of a learning's metrics.json."""
    beside = {"bayes": metrics["bayes_limit_at_noise"], **metrics["controls_at_noise"]}
    known = {COLUMNS[name]: values for name, values in beside.items() if values}
    table = Table(title=Text(f"logic-gated network on {metrics['dataset']}"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("noise", "right answers", *known):
        table.add_column(name, justify="right")
    digits = 2 if metrics["samples"] >= 5000 else 1
    for level, own in metrics["accuracy_at_noise"].items():
        table.add_row(percent(float(level), 0), percent(own, digits), *(percent(values[level], digits) for values in known.values()))
    return Group(table, *(Text(line) for line in lines(metrics)))


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """What is said under the table."""
    training, energy = metrics["training"]["network"], metrics["energy_pj"]
    said = [
        f"{count(metrics['samples'])} samples a level, {', '.join(metrics['noise']['kinds'])}",
        f"{count(metrics['gates'])} gates behind {count(metrics['input_bits'])} input bits, {count(metrics['weights'])} weights "
        f"of -1, 0, 1 ({percent(metrics['zero_weights'])} are 0) in {count(metrics['weight_bytes'])} bytes",
        f"{count(metrics['multiplications'])} multiplications and {count(metrics['additions'])} additions per inference, "
        f"{joules(energy['snn'])} (floating twin: {joules(energy['ann_fp32'])} in fp32, {joules(energy['ann_int8'])} in int8)",
    ]
    if by_kind := metrics["accuracy_by_kind"]:
        said += [f"{kind}: " + ", ".join(f"{at}: {percent(value)}" for at, value in row.items()) for kind, row in by_kind.items()]
    return [*said, f"trained {training['epochs']} epochs in {duration(training['seconds'])}, {duration(metrics['seconds'])} in all"]
