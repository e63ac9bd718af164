"""
Boxes: from a detector's outputs to a list per picture, and how many of two lists are the same.

    FastestDet   score = obj^0.6 · max(class)^0.4,  centre = (cell + tanh r)/22,  size = σ(r)      confidence 0.5, NMS 0.45 per class
    RFB-320      centre = 0.1·loc·prior + prior,  size = exp(0.2·loc)·prior                        confidence 0.7, NMS 0.3

Coordinates are relative to the picture: x1, y1, x2, y2. Source: PROVENANCE.md beside the models in ../shared/data.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Boxes(NamedTuple):
    """The boxes of one picture, best first."""

    xyxy: Float[Tensor, "n 4"]
    score: Float[Tensor, " n"]
    label: Int64[Tensor, " n"]


def corners(centre: Float[Tensor, "n 2"], size: Float[Tensor, "n 2"]) -> Float[Tensor, "n 4"]:
    """Centres and sizes as corners."""
    return torch.cat([centre - size / 2, centre + size / 2], 1)


def iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box of one list with every box of another."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(2)
    area = lambda box: (box[:, 2:] - box[:, :2]).clamp_min(0).prod(1)  # noqa: E731
    return shared / (area(a)[:, None] + area(b)[None] - shared).clamp_min(1e-12)


def suppressed(xyxy: Tensor, score: Tensor, label: Tensor, confidence: float, overlap: float) -> Boxes:
    """The boxes above `confidence`, none overlapping a better one of its class by more than `overlap`."""
    order = score.argsort(descending=True)
    order = order[score[order] > confidence]
    xyxy, score, label = xyxy[order], score[order], label[order]
    same = (iou(xyxy, xyxy) > overlap) & (label[:, None] == label[None])
    kept: list[int] = []
    for place in range(len(order)):
        if not any(bool(same[place, other]) for other in kept):
            kept.append(place)
    return Boxes(xyxy[kept], score[kept], label[kept])


def fastestdet(output: Float[Tensor, "85 h w"], confidence: float = 0.5) -> Boxes:
    """The boxes in FastestDet's output for one picture."""
    height, width = output.shape[1:]
    objectness, where, classes = output[0].flatten(), output[1:5].flatten(1), output[5:].flatten(1)
    best, label = classes.max(0)
    cell = torch.stack([torch.arange(width).repeat(height), torch.arange(height).repeat_interleave(width)]).float()
    centre = (cell + where[:2].tanh()) / torch.tensor([width, height]).view(2, 1)
    score = objectness.clamp_min(0) ** 0.6 * best.clamp_min(0) ** 0.4
    return suppressed(corners(centre.T, where[2:].sigmoid().T), score, label, confidence, 0.45)


def rfb320(scores: Float[Tensor, "p 2"], locations: Float[Tensor, "p 4"], priors: Float[Tensor, "p 4"], confidence: float = 0.7) -> Boxes:
    """The faces in RFB-320's outputs for one picture."""
    centre = 0.1 * locations[:, :2] * priors[:, 2:] + priors[:, :2]
    size = (0.2 * locations[:, 2:]).exp() * priors[:, 2:]
    return suppressed(corners(centre, size), scores[:, 1], torch.zeros(len(scores), dtype=torch.long), confidence, 0.3)


def matched(a: Boxes, b: Boxes) -> int:
    """How many boxes of one list have a partner of their own in the other: same class, IoU at least 0.5, best pairs first."""
    if not len(a.score) or not len(b.score):
        return 0
    overlap = iou(a.xyxy, b.xyxy) * (a.label[:, None] == b.label[None])
    pairs = 0
    while float(overlap.max()) >= 0.5:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row], overlap[:, column] = 0.0, 0.0
        pairs += 1
    return pairs
