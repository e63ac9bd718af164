"""
The seed task: ten random binary prototypes of 784 bits, any of them turned over with a probability of 0 to 45 %, five seeds.

The network sees noisy samples alone; 50,000 test samples a level. The limit is Bayes': the matched filter on the same samples.
"""

import tempfile
from pathlib import Path

import torch

from harness.rows import Row
from spikeloom.pipeline import LogicSettings, learn

SEEDS = 5
AT_LEAST = {"0.0": 100.0, "0.4": 99.9, "0.45": 86.5, "0.47": 55.0}
COMMAND = "python benchmarks/logic_gated.py --parts seed"


def rows() -> list[Row]:
    """The worst of the seeds at each level of noise, beside the limit, and the longest time."""
    found = []
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            found.append(learn(LogicSettings(seed=seed, output_dir=Path(folder))).metrics)
        print(f"seed {seed}: {found[-1]['accuracy_at_noise']} in {found[-1]['seconds']:.0f} s", flush=True)
    curves = [{level: round(100 * value, 3) for level, value in one["accuracy_at_noise"].items()} for one in found]
    limits = [{level: round(100 * value, 3) for level, value in one["bayes_limit_at_noise"].items()} for one in found]
    made = []
    for level, least in AT_LEAST.items():
        values = [curve[level] for curve in curves]
        facts = {"mean": round(sum(values) / SEEDS, 3), "bayes_limit": [limit[level] for limit in limits], "seeds": values}
        facts |= {"samples": found[0]["samples"], "multiplications": max(one["multiplications"] for one in found)}
        title = f"seed task, {float(level):.0%} of bits turned over: worst of five seeds"
        made.append(Row(title, min(values), "%", COMMAND, facts, None, f"at least {least}", min(values) >= least))
    chance = [curve["0.5"] for curve in curves]
    off = max(abs(value - 10) for value in chance)
    made.append(
        Row("seed task, 50%: farthest from chance", round(off, 3), "points", COMMAND, {"seeds": chance}, None, "at most 1", off <= 1)
    )
    seconds = [round(one["seconds"], 1) for one in found]
    threads = torch.get_num_threads()
    facts = {"seeds": seconds, "threads": threads}
    made.append(Row("seed task: longest run", max(seconds), "s", COMMAND, facts, None, "at most 60 on two cores", max(seconds) <= 60))
    return made
