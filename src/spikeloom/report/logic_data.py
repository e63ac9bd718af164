"""
What the page of a logic-gated network tells: one record of plain data, gathered elsewhere, checked here, kept as JSON beside the page.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from spikeloom.errors import ProgramError
from spikeloom.report.data import Row, is_fraction, is_number

FORM = "logic_gated"
"""What a story.json of this kind says of itself."""
LINES = ("network", "bayes", "twin_noise", "twin_clean")


@final
@dataclass(frozen=True)
class LogicStory:
    """Everything the page shows. Fractions run from 0 to 1, energies are pJ per inference, times are seconds.

    `curve` has a row for every level of noise: `noise` (0 to 0.5) and the accuracy of each of LINES, null where one was not measured.
    `confusion` holds by level a matrix of counts, [class, answer]. `pictures` are weights of the first layer: `name`, `rows` of numbers
    from -`most` to `most`. `layers` and `energy` are the rows of their tables; `kinds` names the noise. `metrics` is what metrics.json
    holds. Raises ProgramError, naming the part, for what cannot be shown.
    """

    title: str
    dataset: str = ""
    kinds: Sequence[str] = ()
    metrics: Row = field(default_factory=dict[str, Any])
    curve: Sequence[Row] = ()
    confusion: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict[str, Any])
    classes: Sequence[str] = ()
    pictures: Sequence[Row] = ()
    arranged: str = ""
    layers: Sequence[Row] = ()
    energy: Sequence[Row] = ()
    assumptions: Sequence[str] = ()
    settings: Row = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for index, row in enumerate(self.curve):
            _check(f"curve[{index}].noise", row.get("noise"), is_fraction(row.get("noise")))
            for key in LINES:
                _check(f"curve[{index}].{key}", row.get(key), row.get(key) is None or is_fraction(row.get(key)))
        for level, table in self.confusion.items():
            square = all(len(row) == len(table) and all(is_number(cell) for cell in row) for row in table)
            _check(f"confusion[{level}]", f"{len(table)} rows", bool(table) and square)
        for index, picture in enumerate(self.pictures):
            rows = picture.get("rows") or ()
            _check(f"pictures[{index}].rows", f"{len(rows)} rows", bool(rows) and len({len(row) for row in rows}) == 1 and bool(rows[0]))
        for index, row in enumerate(self.energy):
            _check(f"energy[{index}].total_pj", row.get("total_pj"), is_number(row.get("total_pj")))

    def to_json(self) -> dict[str, Any]:
        """What story.json holds."""
        return {"form": FORM, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(told: Row) -> "LogicStory":
        """The story that a story.json holds. ProgramError where it holds something else."""
        known = {part.name for part in dataclasses.fields(LogicStory)}
        strange = set(told) - known - {"form"}
        if told.get("form") != FORM or strange or "title" not in told:
            raise ProgramError("this is no story of a logic-gated network", found=", ".join(sorted(strange)) or told.get("form"))
        return LogicStory(**{key: value for key, value in told.items() if key != "form"})


def _check(place: str, found: object, holds: bool) -> None:
    if not holds:
        raise ProgramError(f"the report's {place} cannot be shown", found=repr(found)[:80])
