"""
What the page of an adaptation tells: one record of plain data, gathered elsewhere, checked here, kept as JSON beside the page.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from spikeloom.errors import ProgramError
from spikeloom.report.data import Row, is_number

FORM = "agent"
"""What a story.json of this kind says of itself."""
PICTURE = "data:image/gif;base64,"
"""How the address of a clip begins."""


@final
@dataclass(frozen=True)
class AgentStory:
    """Everything the page shows. Returns are undiscounted sums of rewards, energies pJ a decision.

    `lives` has a row for each seed: `seed`, `returned` (the mean return of the weights it kept), `episodes` as [number, return, whether it
    explored], `events` as [number, what]. `changes` has a row for each layer and seed: `layer`, `seed`, `weights`, `relative`, `largest`,
    `turned`. `energy` are rows of a table. `clips` have a `name`, a `picture` (a GIF as an address) and what was `returned` in that
    episode. `rules` are texts: `before`, `after`, `difference`. `metrics` is what metrics.json holds. `reasons` says why a part is absent.
    Raises ProgramError, naming the part, for what cannot be shown.
    """

    title: str
    environment: str = ""
    shifts: Sequence[str] = ()
    metrics: Row = field(default_factory=dict[str, Any])
    lives: Sequence[Row] = ()
    changes: Sequence[Row] = ()
    energy: Sequence[Row] = ()
    clips: Sequence[Row] = ()
    rules: Mapping[str, str] = field(default_factory=dict[str, str])
    assumptions: Sequence[str] = ()
    settings: Row = field(default_factory=dict[str, Any])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for index, row in enumerate(self.lives):
            episodes, events = row.get("episodes") or (), row.get("events") or ()
            _check(f"lives[{index}].episodes", episodes, all(len(each) == 3 and all(map(is_number, each[:2])) for each in episodes))
            _check(f"lives[{index}].events", events, all(len(each) == 2 and is_number(each[0]) for each in events))
            _check(f"lives[{index}].returned", row.get("returned"), is_number(row.get("returned")))
        for index, row in enumerate(self.changes):
            for key in ("relative", "largest", "turned"):
                _check(f"changes[{index}].{key}", row.get(key), is_number(row.get(key)))
        for index, row in enumerate(self.energy):
            _check(f"energy[{index}].total_pj", row.get("total_pj"), is_number(row.get("total_pj")))
        for index, row in enumerate(self.clips):
            _check(f"clips[{index}].picture", row.get("picture"), str(row.get("picture")).startswith(PICTURE))

    def to_json(self) -> dict[str, Any]:
        """What story.json holds."""
        return {"form": FORM, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(told: Row) -> "AgentStory":
        """The story that a story.json holds. ProgramError where it holds something else."""
        known = {part.name for part in dataclasses.fields(AgentStory)}
        strange = set(told) - known - {"form"}
        if told.get("form") != FORM or strange or "title" not in told:
            raise ProgramError("this is no story of an adaptation", found=", ".join(sorted(strange)) or told.get("form"))
        return AgentStory(**{key: value for key, value in told.items() if key != "form"})


def _check(place: str, found: object, holds: bool) -> None:
    if not holds:
        raise ProgramError(f"the report's {place} cannot be shown", found=repr(found)[:80])
