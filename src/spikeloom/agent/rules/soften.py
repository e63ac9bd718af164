"""
A tree made soft, so that gradients say how the directions it splits along should turn.

    p(leaf) = Π over the splits of its path of σ(±(w·x − θ)/τ),      p(action) = Σ over leaves of p(leaf)·softmax(leaf)      (1)

All splits along one direction share its w. τ falls while learning goes on, until the soft tree is nearly the hard one.
Sources: Suárez & Lutsko 1999, Globally optimal fuzzy decision trees (soft splits, learnt by gradients); Murthy et al. 1994 (oblique trees).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from spikeloom.agent.rules.tree import Leaf, Numbers, Tree

WARM, COLD = 0.25, 0.04
"""τ at first and at last, of values whose deviation is 1."""
BATCH = 768
RATE, LEAF_RATE = 0.01, 0.03


@final
@dataclass(frozen=True)
class Flat:
    """A tree as arrays: of each split its feature and threshold; `sides` [leaves, splits] is 1 where a path goes high, −1 where low."""

    features: Int64[Tensor, " s"]
    thresholds: Float[Tensor, " s"]
    sides: Float[Tensor, "l s"]
    answers: Int64[Tensor, " l"]


def flat(tree: Tree) -> Flat:
    """A tree with one split or more, of discrete answers."""
    splits: list[tuple[int, float]] = []
    paths: list[tuple[int, dict[int, float]]] = []

    def visit(node: Tree, path: dict[int, float]) -> None:
        if isinstance(node, Leaf):
            paths.append((int(node.answer), path))  # pyright: ignore[reportArgumentType]
            return
        number = len(splits)
        splits.append((node.feature, node.threshold))
        visit(node.low, {**path, number: -1.0})
        visit(node.high, {**path, number: 1.0})

    visit(tree, {})
    sides = torch.zeros(len(paths), len(splits))
    for row, (_, path) in enumerate(paths):
        for number, side in path.items():
            sides[row, number] = side
    features, thresholds = zip(*splits, strict=True)
    return Flat(torch.tensor(features), torch.tensor(thresholds), sides, torch.tensor([answer for answer, _ in paths]))


def projected(x: Float[Tensor, "n f"], directions: Float[Tensor, "k f"], plain: int) -> Float[Tensor, "n p"]:
    """The first `plain` features as they are, then the projections on unit directions."""
    unit = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-9)
    return torch.cat([x[:, :plain], x @ unit.T], 1)


def turned(
    tree: Tree,
    directions: Numbers,
    mask: Bool[np.ndarray, "k f"],
    plain: int,
    x: Numbers,
    y: Int64[np.ndarray, " n"],
    steps: int,
    generator: torch.Generator,
) -> Numbers:
    """The directions [k, f] after so many steps of gradient descent on the negative log of (1); what `mask` leaves out stays 0.

    `tree` splits `projected(x, directions, plain)`; its own thresholds and answers move along, and are thrown away.
    """
    made, classes = flat(tree), int(y.max()) + 1
    samples, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    w = torch.from_numpy(directions).float().requires_grad_()
    thresholds = made.thresholds.float().clone().requires_grad_()
    logits = (4.0 * torch.nn.functional.one_hot(made.answers, classes).float()).requires_grad_()
    kept, high, low = torch.from_numpy(mask).float(), (made.sides > 0).float(), (made.sides < 0).float()
    groups = [{"params": [w, thresholds], "lr": RATE}, {"params": [logits], "lr": LEAF_RATE}]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - 0.99 * step / steps)
    for step in range(steps):
        tau = WARM * (COLD / WARM) ** (step / steps)
        chosen = torch.randint(len(samples), (BATCH,), generator=generator)
        values = projected(samples[chosen], w * kept, plain)[:, made.features]
        u = (values - thresholds) / tau
        path = torch.nn.functional.logsigmoid(u) @ high.T + torch.nn.functional.logsigmoid(-u) @ low.T
        found = torch.logsumexp(path[:, :, None] + torch.log_softmax(logits, 1), 1)  # (1)
        loss = torch.nn.functional.nll_loss(found, labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return (w * kept).detach().double().numpy()
