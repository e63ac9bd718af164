"""
What an adaptation leaves: metrics.json, story.json, report.html and the network, and a table on the terminal.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from rich.table import Table

from spikeloom.agent.adaptation import Adaptation, Life
from spikeloom.agent.body import worded
from spikeloom.agent.course import Course
from spikeloom.agent.explaining import Explanation, explained, why_not
from spikeloom.agent.filming import filmed
from spikeloom.agent.guarding import Keeping
from spikeloom.agent.logbook import LED_BACK, NOTICED, TRIED
from spikeloom.agent.policy import Acting
from spikeloom.agent.rules import Log
from spikeloom.agent.vetoes import joined
from spikeloom.errors import ResourceError
from spikeloom.ir import Progress, write_json
from spikeloom.report import AgentStory, clip, write_agent
from spikeloom.report.numerals import percent, significant
from spikeloom.simulate import ASSUMPTIONS, Profile

ROWS = {"ANN fp32": "ANN, fp32", "ANN int8": "ANN, int8", "SNN (graded)": "spiking, frozen"}
FRAME_MS = 50


def ruled(found: Adaptation, progress: Progress) -> Explanation | str:
    """What the frozen network and the best adapted one do, in rules; or why that is not told."""
    late = max(policy.embodied.body.delay for policy in (found.policy, found.best.policy))
    reason = why_not((found.policy.observation, found.policy.action), late)
    guard = found.instructions.guard
    return reason or explained(found.policy, found.best.policy, found.environment, found.shifts, guard=guard, progress=progress)


def metrics_of(found: Adaptation, rules: Explanation | str, seconds: float) -> dict[str, Any]:
    """The numbers of an adaptation: JSON only."""
    seeds = [_seed(found, life) for life in found.lives]
    means = {"usual": found.usual, "chance": found.chance, "frozen": found.frozen, "ann": found.ann}
    known = {name: values for name, values in means.items() if values is not None}
    shares = [row["recovered"] for row in seeds if row["recovered"] is not None]
    ann, best = _energies(found.profile), _energies(found.best.profile)
    return {
        "environment": found.environment,
        "shifts": dict(found.shifts),
        "returns": {name: float(values.mean()) for name, values in known.items()}
        | {f"{name}_error": error(values) for name, values in known.items()}
        | {"adapted": float(np.mean([row["returned"] for row in seeds]))},
        "recovered": sum(shares) / len(shares) if shares else None,
        "recovered_by_seed": [row["recovered"] for row in seeds],
        "seeds_found": seeds,
        "episodes": found.course.episodes,
        "environments": found.course.environments,
        "judged": len(found.frozen),
        "spikes_per_decision": {"frozen": found.profile.counts.spikes("graded"), "adapted": found.best.profile.counts.spikes("graded")},
        "energy_pj": {
            "ann_fp32": ann["ANN fp32"],
            "ann_int8": ann["ANN int8"],
            "frozen": ann["SNN (graded)"],
            "adapted": best["SNN (graded)"],
        },
        "kept_seed": found.best.seed,
        "seconds": seconds,
        **told_by(found),
        **({} if isinstance(rules, str) else {"rules": _rules(rules)}),
    }


def _rules(rules: Explanation) -> dict[str, Any]:
    return {"before": rules.before.as_data(), "after": rules.after.as_data(), "act_differently": rules.difference.share}


def told_by(found: Adaptation) -> dict[str, Any]:
    """What came of a person's guards and rules; nothing where there are none."""
    made, guard, lesson = dict[str, Any](), found.instructions.guard, found.lesson
    if guard is not None:
        lived = [life.lived for life in found.lives]
        made["guards"] = [
            {
                "name": each.name,
                "when": each.when.text,
                "lived": sum(log.counts[each.name] for log in lived if log is not None),
                "gave_way": sum(log.conflicts[each.name] for log in lived if log is not None),
                "frozen": _count(found.guarded, each.name),
                "adapted": _count(found.best.judged, each.name),
            }
            for each in guard.constraints
        ]
        logs = {"frozen": found.guarded, "adapted": found.best.judged}
        decisions = {name: log.states for name, log in logs.items() if log is not None}
        made["decisions"] = {"lived": sum(log.states for log in lived if log is not None), **decisions}
    if lesson is not None:
        made["taught"] = {
            "speaks": lesson.taught.speaks,
            "before": _known(lesson.taught.before),
            "after": _known(lesson.taught.after),
            "kept": _known(lesson.taught.kept),
            "returned": float(lesson.returns.mean()),
            "error": error(lesson.returns),
            "frozen_obeys": _known(lesson.frozen_obeys),
            "taught_obeys": _known(lesson.obeys),
            "adapted_obeys": _known(found.best.obeyed),
        }
    return made


def _count(log: Log | None, name: str) -> int:
    return 0 if log is None else log.counts[name]


def _known(value: float | None) -> float | None:
    """A number, or None for NaN."""
    return value if value is not None and math.isfinite(value) else None


def error(values: ndarray) -> float:
    """The standard error of a mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def _seed(found: Adaptation, life: Life) -> dict[str, Any]:
    what = [event.what for event in life.events]
    noticed, share = [event.number for event in life.events if event.what == NOTICED], found.recovered(life)
    return {
        "seed": life.seed,
        "returned": float(life.returns.mean()),
        "error": error(life.returns),
        "recovered": share if math.isfinite(share) else None,
        "noticed": noticed[0] if noticed else None,
        "trials": what.count(TRIED),
        "led_back": what.count(LED_BACK),
        "episodes": len(life.episodes),
        "steps": life.steps,
        "body": worded(life.policy.embodied.body, found.policy.embodied.body) or None,
    }


def _energies(profile: Profile) -> Mapping[str, float]:
    return {row.network: row.total_pj for row in profile.energy}


def story_of(found: Adaptation, rules: Explanation | str, metrics: dict[str, Any], source: str, progress: Progress) -> AgentStory:
    """The report's data."""
    clips, why = clips_of(found, progress)
    why = why | ({"rules": rules} if isinstance(rules, str) else {})
    rows = [
        {**dataclasses.asdict(row), "network": ROWS[row.network], "total_pj": row.total_pj}
        for row in found.profile.energy
        if row.network in ROWS
    ]
    adapted = next(row for row in found.best.profile.energy if row.network == "SNN (graded)")
    rows.append({**dataclasses.asdict(adapted), "network": "spiking, adapted", "total_pj": adapted.total_pj})
    for row, key in ((rows[-2], "frozen"), (rows[-1], "adapted")):
        row["spikes"] = metrics["spikes_per_decision"][key]
    return AgentStory(
        title=f"{source} in a changed {found.environment}",
        environment=found.environment,
        shifts=[f"{name}={_short(value)}" for name, value in found.shifts.items()],
        metrics=metrics,
        lives=[
            {
                "seed": life.seed,
                "returned": float(life.returns.mean()),
                "episodes": [[each.number, each.value, each.explored] for each in life.episodes],
                "events": [[event.number, event.what] for event in life.events],
            }
            for life in found.lives
        ],
        changes=[{**dataclasses.asdict(change), "seed": life.seed} for life in found.lives for change in life.changes],
        energy=rows,
        clips=clips,
        rules={} if isinstance(rules, str) else texts(rules),
        assumptions=[*ASSUMPTIONS, "Learning itself is not priced: these are decisions of a network whose weights are written."],
        settings=told(found.course),
        reasons=why,
    )


def clips_of(found: Adaptation, progress: Progress) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """An episode before and after, filmed; or why there is none."""
    made = list[dict[str, Any]]()
    for name, policy in (("Before", found.policy), ("After", found.best.policy)):
        progress("filming", len(made), 2)
        act = Keeping(Acting(policy), policy.action, found.instructions.guard)
        try:
            frames, total = filmed(act, found.environment, found.shifts)
        except (ResourceError, ImportError) as missing:
            return [], {"clip": f"pictures need what is not installed: {missing}"}
        made.append({"name": name, "picture": clip(frames, FRAME_MS), "returned": total})
    return made, {}


def told(course: Course) -> dict[str, Any]:
    """The choices of an adaptation, on one level."""
    plain = dataclasses.asdict(course)
    learning = plain.pop("learning")
    return plain | {f"learning.{name}": value for name, value in learning.items()}


def texts(rules: Explanation) -> dict[str, str]:
    """Rules as the page has them."""
    return {"before": rules.before.text, "after": rules.after.text, "difference": rules.difference.text()}


def publish(found: Adaptation, rules: Explanation | str, story: AgentStory, folder: Path) -> None:
    """The network whose weights settled best, the metrics, the story, the page, rules and vetoes in a folder."""
    found.best.policy.save(folder)
    if not isinstance(rules, str):
        rules.save(folder)
    if found.instructions.guard is not None:
        joined(found.vetoes, folder / "vetoes.jsonl")
    write_json(folder / "metrics.json", story.metrics)
    write_json(folder / "story.json", story.to_json())
    write_agent(story, folder / "report.html")


def table_of(metrics: Mapping[str, Any]) -> Table:
    """Returns before and after, a row for each seed."""
    table = Table(title=f"{metrics['environment']}: mean return of {metrics['judged']} episodes", title_justify="left")
    for name, justify in (("network", "left"), ("return", "right"), ("±", "right"), ("recovered", "right"), ("drift noticed", "right")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    returns = metrics["returns"]
    for name, key in (
        ("ANN, usual world", "ann"),
        ("spiking, usual world", "usual"),
        ("random, usual world", "chance"),
        ("frozen, changed", "frozen"),
    ):
        if key in returns:
            table.add_row(name, significant(returns[key]), significant(returns[f"{key}_error"]), "", "")
    if "taught" in metrics:
        table.add_row(
            "taught by rules, changed", significant(metrics["taught"]["returned"]), significant(metrics["taught"]["error"]), "", ""
        )
    for row in metrics["seeds_found"]:
        noticed = "" if row["noticed"] is None else f"after {row['noticed']} episodes"
        share = percent(row["recovered"], 0)
        table.add_row(f"adapted, seed {row['seed']}", significant(row["returned"]), significant(row["error"]), share, noticed)
    return table


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
