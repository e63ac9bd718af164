"""
What an evolution of an agent begins with, so that it can go on, and what it leaves: the network, metrics.json, a table.

    checkpoints/network           the policy before
    checkpoints/evolution.json    what was asked
    checkpoints/search            the search's own state
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from rich.table import Table

from spikeloom.agent.contest import Contest, Outcome, entered
from spikeloom.agent.evolution import Breeding, Evolved
from spikeloom.agent.policy import Policy
from spikeloom.errors import ConfigError
from spikeloom.ir import Progress, write_json
from spikeloom.report.numerals import significant

LIVES = 8
"""Judged episodes for every life that is judged."""


@final
class Judgement(NamedTuple):
    """What the network before and the one found got in the same new episodes, or lives."""

    before: Outcome
    after: Outcome


def check_learning(contest: Contest, breeding: Breeding) -> None:
    """Raises ConfigError where plasticity is to be searched and nothing is learnt."""
    if breeding.plasticity and not contest.adaptation:
        raise ConfigError("plasticity is judged by what it learns", found="--adaptation 0", allowed="episodes of adaptation")


def begun(folder: Path, contest: Contest, breeding: Breeding, *, resume: bool) -> Path:
    """Where the policy before is kept. Raises ConfigError where this evolution is to go on, and has not begun or was another one."""
    network, asked = folder / "network", folder / "evolution.json"
    if not resume:
        return network
    if not ((network / "program.json").is_file() and asked.is_file()):
        raise ConfigError("there is nothing to go on from", found=f"no {asked}", todo="begin anew, without --resume")
    told, now = json.loads(asked.read_text()), _asked(contest, breeding)
    other = [f"{name}: {told.get(name)}, now {value}" for name, value in now.items() if told.get(name) != value]
    if other:
        raise ConfigError(f"{folder} holds another evolution", found="; ".join(other), todo="ask for the same, or begin anew")
    return network


def begin(folder: Path, policy: Policy, contest: Contest, breeding: Breeding) -> None:
    """An evolution begins anew: what an earlier one left goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    policy.save(folder / "network")
    write_json(folder / "evolution.json", _asked(contest, breeding))


def _asked(contest: Contest, breeding: Breeding) -> dict[str, Any]:
    return json.loads(json.dumps({**asdict(contest), **asdict(breeding)}))


def judgement_of(policy: Policy, found: Evolved, contest: Contest, judged: int, progress: Progress, **running: Any) -> Judgement:
    """Both in episodes that evolution did not meet: `judged` of them, or where it adapts an eighth as many lives, two at least."""
    count = {"lives": max(judged // LIVES, 2)} if contest.adaptation else {"episodes": judged}
    new = replace(contest, **count)
    progress("judging", 0, 2)
    before = entered(policy, new, **running)
    progress("judging", 1, 2)
    return Judgement(before, entered(found.policy, new, found.learning, found.exploration, **running))


def metrics_of(found: Evolved, contest: Contest, judgement: Judgement, seconds: float) -> dict[str, Any]:
    """The numbers of an evolution: JSON only."""
    pairs = judgement.after.returns - judgement.before.returns
    told = {name: _told(each) for name, each in judgement._asdict().items()}
    return {
        "environment": contest.env_id,
        "shifts": dict(contest.shifts[0]),
        **told,
        "gain": {"return": float(pairs.mean()), "error": _error(pairs)},
        "judged": len(pairs),
        "judged_what": "lives" if contest.adaptation else "episodes",
        "generations": len(found.history),
        "evaluations": found.history[-1]["evaluations"],
        "new_incumbents": [row["new"] for row in found.history if row["new"]],
        "learning": asdict(found.learning),
        "exploration": found.exploration,
        "history": [dict(row) for row in found.history],
        "seconds": seconds,
    }


def _told(outcome: Outcome) -> dict[str, float]:
    return {"return": outcome.mean, "error": _error(outcome.returns), "energy_nj": outcome.energy_nj}


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / len(values) ** 0.5


def publish(found: Evolved, metrics: Mapping[str, Any], folder: Path) -> None:
    """The network found and the metrics, in a folder."""
    found.policy.save(folder)
    write_json(folder / "metrics.json", dict(metrics))


def table_of(metrics: Mapping[str, Any]) -> Table:
    """Returns before and after."""
    title = f"{metrics['environment']}: mean return in {metrics['judged']} new {metrics['judged_what']}"
    table = Table(title=title, title_justify="left")
    for name, justify in (("network", "left"), ("return", "right"), ("±", "right"), ("nJ a decision", "right")):
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for name, key in (("before", "before"), (f"after {metrics['evaluations']} evaluations", "after")):
        row = metrics[key]
        table.add_row(name, significant(row["return"]), significant(row["error"]), significant(row["energy_nj"]))
    table.add_row("gain, in pairs", significant(metrics["gain"]["return"]), significant(metrics["gain"]["error"]), "")
    return table
