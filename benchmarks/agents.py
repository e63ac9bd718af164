"""
Agents: policies that were trained as ANNs, on spikes, in their environments.

    python benchmarks/agents.py [--parts policies speed rules] [--policies dqn_cartpole …] [--episodes 100]

Needs gymnasium (pip install 'spikeloom[agents]') and ../shared/data/rl_policies. Each part is described in `acting/<part>.py`. Writes
benchmarks/results/agents.json after every row; rows of other parts stay.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from acting import evolution, policies, rules, shifts, speed
from acting.networks import NAMES
from harness.rows import Row, write

PARTS: Mapping[str, Callable[..., Iterator[Row]]] = {
    "policies": policies.rows,
    "speed": speed.rows,
    "shifts": shifts.rows,
    "rules": rules.rows,
    "evolution": evolution.rows,
}


def main() -> int:
    """Rows of the parts asked for; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--policies", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5, help="of the part shifts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    missed = 0
    for part in options.parts:
        more = {"seeds": options.seeds} if part == "shifts" else {}
        for row in PARTS[part](options.policies, options.episodes, **more):
            sys.stdout.write(f"{row.name}: {row.value} {row.unit} {row.control} holds={row.holds}\n")
            sys.stdout.flush()
            write("agents", [row], part=True)
            missed += row.holds is False
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
