"""What learning in a stream gained and what it cost, as a table."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from spikeloom.report.numerals import count, percent, probability

WAYS = {"before": "before", "after": "after", "saved": "as saved, one context"}
KINDS = {"stream": "pictures of the stream's kind", "first": "pictures of the first kind"}
PARTS = {"new_classes": "new classes among them", "known_classes": "known classes among them"}


def stream_table(stream: Mapping[str, Any], title: str) -> Group:
    """What is printed of the part "stream" of metrics.json."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", *WAYS.values(), "test pictures", "p"):
        table.add_column(name, justify="right" if name else "left")
    for kind, name in KINDS.items():
        _row(table, name, stream["accuracy"][kind], count(stream["tested"][kind]), probability(stream["mcnemar"][kind]["p"]))
        for part in PARTS if kind == "stream" else ():
            if part in stream:
                _row(table, PARTS[part], stream[part], "", "")
    drift = "as they are" if stream["corruption"] is None else f"{stream['corruption']} of severity {stream['severity']}"
    said = [
        f"{count(stream['samples'])} pictures of {stream['dataset']}, {drift}; {count(stream['labels_used'])} of "
        f"{count(stream['labels'])} labels learnt from; contexts: {stream['contexts']}",
        f"right on the way, each answered before it was learnt from: {percent(stream['accuracy_on_the_way'], 2)}",
    ]
    return Group(table, *(Text(line) for line in said))


def _row(table: Table, name: str, found: Mapping[str, float], *more: str) -> None:
    table.add_row(name, *(percent(found[way], 2) for way in WAYS), *more)
