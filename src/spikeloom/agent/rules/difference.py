"""
Two sets of rules beside each other: what went, what is new, which thresholds moved, and where they act differently.

    same       condition and action unchanged
    moved      the same names compared the same way, the same action, other thresholds
    gone, new  what is left on either side

Of several pairs that could be `moved`, the one with the most states in common goes first. Rules learnt apart from each other differ by
chance as well; to see what a policy's change did, learn the later ones from the earlier tree (`imitate(..., start=before.tree)`).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from spikeloom.agent.rules.ruleset import SILENT, Rule, RuleSet
from spikeloom.errors import ConfigError

Bound = tuple[str, str]
"""What is compared and how: ("lean", ">")."""


@final
@dataclass(frozen=True)
class Moved:
    """A rule whose thresholds changed: `changes` are (what, how, before, after)."""

    before: Rule
    after: Rule
    changes: tuple[tuple[str, str, float, float], ...]


@final
@dataclass(frozen=True)
class Difference:
    """See the module's text. `share` of the states are answered differently; `pairs`: (action before, action after, share of states)."""

    before: RuleSet
    after: RuleSet
    same: tuple[Rule, ...]
    moved: tuple[Moved, ...]
    gone: tuple[Rule, ...]
    new: tuple[Rule, ...]
    predicates: tuple[tuple[str, str | None, str | None], ...]
    share: float
    pairs: tuple[tuple[str, str, float], ...]

    def text(self) -> str:
        """A person's view: + new, - gone, ~ moved, = how many stayed, and where the two act differently."""
        lines = [f"= {len(self.same)} rules stayed"]
        for each in self.moved:
            changes = ", ".join(f"{what} {how} {old:g} → {new:g}" for what, how, old, new in each.changes)
            lines.append(f"~ {self.after.said(each.after.then)}: {changes}    (if {each.after.when.text})")
        lines += [f"- if {rule.when.text} then {self.before.said(rule.then)}" for rule in self.gone]
        lines += [f"+ if {rule.when.text} then {self.after.said(rule.then)}" for rule in self.new]
        ends = [each.said(each.otherwise) if each.otherwise is not None else "nothing" for each in (self.before, self.after)]
        lines += [f"~ otherwise {ends[0]} → {ends[1]}"] if ends[0] != ends[1] else []
        lines += [f"~ {name} = {old or 'absent'} → {new or 'absent'}" for name, old, new in self.predicates]
        lines.append(f"they act differently in {self.share:.1%} of the states")
        return "\n".join([*lines, *(f"    {old} → {new}: {share:.1%}" for old, new, share in self.pairs)])

    def as_data(self) -> dict[str, Any]:
        """The same in plain values, for a report's page."""

        def plain(rule: Rule, of: RuleSet) -> dict[str, Any]:
            return {"when": rule.when.text, "then": of.said(rule.then)}

        changes = [[{"what": w, "how": h, "before": old, "after": new} for w, h, old, new in each.changes] for each in self.moved]
        return {
            "same": [plain(rule, self.after) for rule in self.same],
            "moved": [
                {"before": plain(each.before, self.before), "after": plain(each.after, self.after), "changes": change}
                for each, change in zip(self.moved, changes, strict=True)
            ],
            "gone": [plain(rule, self.before) for rule in self.gone],
            "new": [plain(rule, self.after) for rule in self.new],
            "otherwise": [each.said(each.otherwise) if each.otherwise is not None else None for each in (self.before, self.after)],
            "predicates": [{"name": name, "before": old, "after": new} for name, old, new in self.predicates],
            "share": self.share,
            "pairs": [{"before": old, "after": new, "share": share} for old, new, share in self.pairs],
        }


def difference(before: RuleSet, after: RuleSet, states: Float[np.ndarray, "n d"], tolerance: float = 0.05) -> Difference:
    """What changed from `before` to `after`, and in what share of the states they act differently (numbers: by over `tolerance`).

    Raises ConfigError where they speak of other observations or actions.
    """
    if before.names != after.names:
        found = f"{', '.join(before.names.observations)} and {', '.join(after.names.observations)}"
        raise ConfigError("rules over different observations or actions have no difference", found=found, allowed="the same names")
    same = [rule for rule in before.rules if any(_equal(rule, other) for other in after.rules)]
    olds = [rule for rule in before.rules if rule not in same]
    news = [rule for rule in after.rules if not any(_equal(rule, other) for other in before.rules)]
    moved = tuple(_paired(olds, news, before, after, states))
    gone = tuple(rule for rule in olds if not any(rule is each.before for each in moved))
    new = tuple(rule for rule in news if not any(rule is each.after for each in moved))
    apart = _apart(before, after, states, tolerance)
    share = float(apart.mean()) if len(states) else 0.0
    return Difference(
        before, after, tuple(same), moved, gone, new, tuple(_predicates(before, after)), share, tuple(_pairs(before, after, states, apart))
    )


def bounds_of(rule: Rule) -> dict[Bound, float] | None:
    """What a condition compares with what: of comparisons and truths joined by `and`; None for a condition of another form."""
    found: dict[Bound, float] = {}
    root = ast.parse(rule.when.text, mode="eval").body
    parts = root.values if isinstance(root, ast.BoolOp) and isinstance(root.op, ast.And) else [root]
    for part in parts:
        read = list(_bounds(part))
        if not read or any(key in found for key, _ in read):
            return None
        found |= dict(read)
    return found


_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SIGNS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def _bounds(part: ast.expr) -> Iterator[tuple[Bound, float]]:
    """The comparisons of one part, `what how number`; nothing where it is of another form."""
    match part:
        case ast.Name(id=name):
            yield (name, "holds"), 1.0
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)):
            yield (name, "does not hold"), 1.0
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _SIGNS for op in ops):
            sides = [left, *others]
            read = [_bound(a, _SIGNS[type(op)], b) for a, op, b in zip(sides, ops, others, strict=False)]
            if all(each is not None for each in read):
                yield from (each for each in read if each is not None)
        case _:
            return


def _bound(a: ast.expr, sign: str, b: ast.expr) -> tuple[Bound, float] | None:
    left, right = _constant(a), _constant(b)
    if (left is None) == (right is None):
        return None
    if right is not None:
        return (ast.unparse(a), sign), right
    return ((ast.unparse(b), _MIRRORED[sign]), left) if left is not None else None


def _constant(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
        case _:
            return None


def _equal(a: Rule, b: Rule) -> bool:
    return a.then == b.then and a.when.text == b.when.text


def _paired(olds: list[Rule], news: list[Rule], before: RuleSet, after: RuleSet, states: NDArray[Any]) -> Iterator[Moved]:
    """Pairs of rules that differ in thresholds alone, those with the most states in common first."""
    old_fired, new_fired = before.fired(states), after.fired(states)

    def common(old: Rule, new: Rule) -> int:
        return int(((old_fired == before.rules.index(old)) & (new_fired == after.rules.index(new))).sum())

    pairs = [(old, new) for old in olds for new in news if old.then == new.then and _same_form(old, new)]
    pairs.sort(key=lambda pair: -common(*pair))
    taken = list[Rule]()
    for old, new in pairs:
        if any(old is each or new is each for each in taken):
            continue
        taken += [old, new]
        a, b = bounds_of(old) or {}, bounds_of(new) or {}
        yield Moved(old, new, tuple((what, how, a[what, how], b[what, how]) for what, how in a if a[what, how] != b[what, how]))


def _same_form(old: Rule, new: Rule) -> bool:
    a, b = bounds_of(old), bounds_of(new)
    return a is not None and b is not None and a.keys() == b.keys()


def _predicates(before: RuleSet, after: RuleSet) -> Iterator[tuple[str, str | None, str | None]]:
    old, new = ({name: each.text for name, each in rules.features.predicates.items()} for rules in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _apart(before: RuleSet, after: RuleSet, states: NDArray[Any], tolerance: float) -> Bool[np.ndarray, " n"]:
    return differs(_answered(before, states), _answered(after, states), tolerance)


def differs(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> Bool[np.ndarray, " n"]:
    """Where two rows of actions are not the same; of continuous ones, where any number is further off than `tolerance`."""
    if a.ndim == 1:
        return np.asarray(a != b)
    with np.errstate(invalid="ignore"):
        apart = ~(np.abs(a - b) <= tolerance) & (a != b)
    return apart.any(axis=1)


def _answered(rules: RuleSet, states: NDArray[Any]) -> NDArray[Any]:
    """Actions; where nothing is said, `SILENT`, or infinite numbers."""
    if rules.otherwise is not None:
        return rules(states)
    fired = rules.fired(states)
    width = () if not rules.names.continuous else (len(rules.names.actions),)
    found = np.full((len(states), *width), SILENT if not width else np.inf, dtype=np.float64 if width else np.int64)
    if (fired != SILENT).any():
        found[fired != SILENT] = rules(states[fired != SILENT])
    return found


def _pairs(before: RuleSet, after: RuleSet, states: NDArray[Any], apart: NDArray[np.bool_]) -> Iterator[tuple[str, str, float]]:
    """Of discrete actions: what was done, what is done, and in what share of the states, the largest first."""
    if before.names.continuous or not apart.any():
        return
    said = [*before.names.actions, "nothing"]  # SILENT is -1, the last
    old, new = _answered(before, states), _answered(after, states)
    both, counts = np.unique(np.stack([old[apart], new[apart]], 1), axis=0, return_counts=True)
    for place in np.argsort(-counts).tolist():
        yield said[both[place, 0]], said[both[place, 1]], float(counts[place] / len(states))
