"""
The verdict on an adaptation in words: what the numbers say, with nothing said that was not measured.
"""

from collections.abc import Sequence

from spikeloom.report.agent_data import AgentStory
from spikeloom.report.data import Row
from spikeloom.report.numerals import MISSING, Number, count, duration, finite, joules, percent, significant, times
from spikeloom.report.verdict import Finding, Span

GOOD, SIGNIFICANT = 0.7, 2.0
"""The share of what was lost whose return is called good, and the standard errors that are more than noise."""


def sentence(story: AgentStory) -> tuple[Span, ...]:
    """The first thing on the page: what the change cost, and what came back."""
    returns = story.metrics.get("returns") or {}
    usual, frozen, adapted = (returns.get(key) for key in ("usual", "frozen", "adapted"))
    if not (finite(usual) and finite(frozen) and finite(adapted)):
        return (Span("The network went on learning; its returns were not measured."),)
    under = f"Under {', '.join(story.shifts)} a" if story.shifts else "A"
    begin = (Span(f"{under} return of "), Span(significant(usual), "ann"), Span(" became "), Span(significant(frozen), "control"))
    share = story.metrics.get("recovered")
    lost = Span(f": {percent(share, 0)} of what was lost is back." if finite(share) else ".")
    after = f"; after {count(story.metrics.get('episodes'))} episodes of local learning it is "
    return (*begin, Span(after), Span(significant(adapted), "snn"), lost)


def ruled(story: AgentStory) -> bool:
    """Whether there is anything to say of rules: those of the network, or those of a person."""
    return bool(story.rules or story.reasons.get("rules") or story.metrics.get("guards") or story.metrics.get("taught"))


def lesson(metrics: Row) -> list[tuple[str, Number | None, Number | None, Number | None]]:
    """What a person's rules did: (network, the share of the states they speak of in which it obeys, its return, the standard error)."""
    taught, returns = metrics["taught"], metrics.get("returns") or {}
    kept = next((row for row in metrics.get("seeds_found") or () if row["seed"] == metrics.get("kept_seed")), {})
    return [
        ("Frozen", taught.get("frozen_obeys"), returns.get("frozen"), returns.get("frozen_error")),
        ("After the lesson", taught.get("taught_obeys"), taught.get("returned"), taught.get("error")),
        ("Adapted", taught.get("adapted_obeys"), kept.get("returned"), kept.get("error")),
    ]


def findings(story: AgentStory) -> tuple[Finding, ...]:
    """Judgements that fit on one line each."""
    found = (
        _recovered(story),
        _harmed(story),
        _noticed(story),
        _rewired(story),
        _led_back(story),
        _guarded(story),
        _obeyed(story),
        _cost(story),
    )
    return tuple(finding for finding in found if finding is not None)


def _recovered(story: AgentStory) -> Finding | None:
    shares = [share for share in story.metrics.get("recovered_by_seed") or () if finite(share)]
    if not shares:
        return None
    good = sum(share >= GOOD for share in shares)
    said = f"{good} of {len(shares)} seeds have {percent(GOOD, 0)} or more of the lost return back"
    return Finding(said, "good" if good == len(shares) else "plain" if good else "bad")


def _harmed(story: AgentStory) -> Finding | None:
    """Whether a seed ended below the frozen network by more than noise."""
    returns = story.metrics.get("returns") or {}
    worse = [
        row["seed"]
        for row in story.metrics.get("seeds_found") or ()
        if row["returned"] < returns["frozen"] - SIGNIFICANT * (row["error"] ** 2 + returns["frozen_error"] ** 2) ** 0.5
    ]
    if not story.metrics.get("seeds_found"):
        return None
    if not worse:
        return Finding("No seed ended below the frozen network by more than noise", "good")
    return Finding(f"Below the frozen network by more than noise: seeds {', '.join(map(str, worse))}", "bad")


def events_of(lives: Sequence[Row], what: str) -> list[list[int]]:
    """Of each seed the episodes after which that happened."""
    return [[number for number, said in life["events"] if said == what] for life in lives]


def _noticed(story: AgentStory) -> Finding | None:
    noticed = [numbers[0] for numbers in events_of(story.lives, "drift noticed") if numbers]
    if not story.lives or story.settings.get("plastic") != "on drift":
        return None
    if not noticed:
        return Finding("No drift was noticed, and nothing was learnt", "plain")
    span = f"{min(noticed)}" if min(noticed) == max(noticed) else f"{min(noticed)} to {max(noticed)}"
    return Finding(
        f"Drift noticed after {span} episodes" + (f" ({len(noticed)} of {len(story.lives)} seeds)" if len(story.lives) > 1 else "")
    )


def _rewired(story: AgentStory) -> Finding | None:
    """What the agent says of its changed body."""
    said = [row.get("body") for row in story.metrics.get("seeds_found") or ()]
    found = [words for words in dict.fromkeys(said) if words]
    if not found:
        return None
    each = (f"{words} ({said.count(words)} of {len(said)} seeds)" if len(said) > 1 else words for words in found)
    return Finding(f"The agent says of its body: {'; or '.join(each)}", "good")


def _led_back(story: AgentStory) -> Finding | None:
    total = sum(map(len, events_of(story.lives, "led back")))
    return Finding(f"Led back to better weights {count(total)} {'time' if total == 1 else 'times'}") if total else None


def _guarded(story: AgentStory) -> Finding | None:
    guards, decisions = story.metrics.get("guards") or (), (story.metrics.get("decisions") or {}).get("adapted")
    if not guards or not decisions:
        return None
    return Finding(f"Guards changed {percent(sum(row['adapted'] for row in guards) / decisions)} of the adapted network's decisions")


def _obeyed(story: AgentStory) -> Finding | None:
    share = (story.metrics.get("taught") or {}).get("adapted_obeys")
    return Finding(f"It does what the person's rules say in {percent(share)} of the states they speak of") if finite(share) else None


def _cost(story: AgentStory) -> Finding | None:
    energy = story.metrics.get("energy_pj") or {}
    ratio = times(energy.get("adapted"), energy.get("ann_int8"))
    if ratio == MISSING:
        return None
    return Finding(f"{ratio} the energy of the int8 ANN a decision", "good" if energy["adapted"] <= energy["ann_int8"] else "bad")


def tiles(story: AgentStory) -> list[tuple[str, str, str]]:
    """The key numbers: (name, number, remark), those that are known."""
    metrics = story.metrics
    returns, energy, spikes = (metrics.get(key) or {} for key in ("returns", "energy_pj", "spikes_per_decision"))
    seeds = metrics.get("seeds_found") or ()
    spread = [row["returned"] for row in seeds]
    between = (
        f"{significant(min(spread))} to {significant(max(spread))} over {len(spread)} seeds"
        if len(spread) > 1
        else "kept weights, best actions"
    )
    chance = f"random actions {significant(returns['chance'])}" if finite(returns.get("chance")) else ""
    rows = [
        ("Usual world", returns.get("usual"), _number(returns.get("usual")), chance),
        ("Frozen", returns.get("frozen"), _number(returns.get("frozen")), "in the changed world"),
        ("Adapted", returns.get("adapted"), _number(returns.get("adapted")), between),
        ("Recovered", metrics.get("recovered"), percent(metrics.get("recovered"), 0), "of the lost return"),
        ("Episodes", metrics.get("episodes"), count(metrics.get("episodes")), f"in {count(metrics.get('environments'))} environments"),
        ("Spikes", spikes.get("adapted"), count(spikes.get("adapted")), f"a decision; frozen {count(spikes.get('frozen'))}"),
        ("Energy, estimated", energy.get("adapted"), joules(energy.get("adapted")), f"a decision; frozen {joules(energy.get('frozen'))}"),
        ("Whole run", metrics.get("seconds"), duration(metrics.get("seconds")), "conversion to report"),
    ]
    return [(name, number, remark) for name, value, number, remark in rows if finite(value)]


def _number(value: object) -> str:
    return significant(value) if finite(value) else MISSING
