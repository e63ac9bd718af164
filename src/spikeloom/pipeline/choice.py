"""
Choosing by measured error: which streams and heads are rotated, and where the levels of each population lie.

Each candidate network gets its thresholds on the calibration data, and each of its populations is asked what its rounding does to the
layers that read it (`calibrate.reading_errors`), everything else being exact:

    a group is rotated       where the errors of its readers, added up, fall by more than `MARGIN_DB`                    (1)
    a population's levels    lie where its readers' errors, added up, are least; in the simpler way where two are equal     (2)

With both to choose, (1) takes for each population the best of (2). Candidates: `convert.PLACEMENTS`; everything rotated, or nothing.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from spikeloom.calibrate import reading_errors
from spikeloom.calibrate.reading import Edge
from spikeloom.convert import PLACEMENTS
from spikeloom.ir import Context, Program, batches_of, run
from spikeloom.pipeline.passes import Choice, given, spiking_passes
from spikeloom.pipeline.settings import Settings
from spikeloom.plan import Fuse, Plan, Rotate

MARGIN_DB = 0.5
"""Less than that another random matrix would change too."""
BATCHES = 4
"""How many calibration batches readers are measured on."""

Errors = Mapping[Edge, float]


def choose(settings: Settings, ann: Program, context: Context) -> Choice:
    """What `auto` comes to on the calibration data; where nothing is `auto`, what the settings say."""
    if "auto" not in (settings.rotation, settings.placement):
        return given(settings)
    candidates = PLACEMENTS if settings.placement == "auto" else (settings.placement,)
    fused = run([Plan(), Fuse()], ann, context)
    if settings.rotation == "none":
        return Choice((), (), *_placed(_measured(settings, fused, candidates, context)))
    turned = run([Rotate()], fused, context)
    groups = turned.records[-1].numbers["rotated"]
    if not groups and len(candidates) == 1:
        return given(settings)
    with_all = _measured(settings, turned, candidates, context)
    if settings.rotation == "all":
        return Choice(None, (), *_placed(with_all))
    plain = _measured(settings, fused, candidates, context)
    gains = gains_db(groups, least(plain.values()), least(with_all.values()))
    chosen = tuple(name for name, gain in gains.items() if gain > MARGIN_DB)
    if 0 < len(chosen) < len(gains) and len(candidates) > 1:
        plain = _measured(settings, run([Rotate(chosen)], fused, context), candidates, context)
    return Choice(chosen, tuple(gains.items()), *_placed(with_all if len(chosen) == len(gains) > 0 else plain))


def gains_db(groups: Sequence[Mapping[str, Any]], plain: Errors, turned: Errors) -> dict[str, float]:
    """By how much the errors of each group's readers fall when it is rotated, dB. (1)"""
    found = dict[str, float]()
    for group in groups:
        before, after = (sum(error for (_, reader), error in errors.items() if reader in group["readers"]) for errors in (plain, turned))
        found[str(group["name"])] = round(10 * math.log10(max(before, 1e-20) / max(after, 1e-20)), 3)
    return found


def least(errors: Any) -> Errors:
    """Of each population and reader the least error over several placements."""
    found = dict[Edge, float]()
    for each in errors:
        for edge, error in each.items():
            found[edge] = min(error, found.get(edge, math.inf))
    return found


def placements_of(errors: Mapping[str, Errors]) -> dict[str, str]:
    """Where the levels of each population lie best. (2)"""
    totals = dict[str, dict[str, float]]()
    for placement, each in errors.items():
        for (name, _), error in each.items():
            told = totals.setdefault(name, dict.fromkeys(errors, 0.0))
            told[placement] += error
    return {name: min(told, key=lambda placement: told[placement]) for name, told in totals.items()}


def _placed(errors: Mapping[str, Errors]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The first candidate for all, and for which populations another one is better."""
    first = next(iter(errors))
    return first, tuple((name, best) for name, best in placements_of(errors).items() if best != first)


def _measured(settings: Settings, ann: Program, candidates: Sequence[str], context: Context) -> dict[str, Errors]:
    """The reading errors of every population, for each placement."""
    found = dict[str, Errors]()
    for placement in candidates:
        spiking = run(spiking_passes(settings, placement), ann, context)
        context.progress(f"measuring {placement} levels", 0, 0)
        found[placement] = reading_errors(spiking, islice(batches_of(context)(), BATCHES), settings.timesteps)
    return found
