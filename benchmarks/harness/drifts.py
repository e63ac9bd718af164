"""
Drifts of grey pictures from 0 to 1: what a camera, a sheet of paper or a hand may do to all pictures of a stream from one moment on.

    noise       normal, standard deviation 0.5                    contrast    around its own mean a fifth, on grey
    blur        Gaussian, 1.8 pixels                              fog         half of it, behind a cloud of its own
    rotation    40 degrees, all the same way                      inversion   black for white
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate
from torch import Tensor

Picture = NDArray[np.float64]
Drift = Callable[[Picture, np.random.Generator], Picture]

DRIFTS: Mapping[str, Drift] = {
    "noise": lambda picture, random: picture + random.normal(0, 0.5, picture.shape),
    "blur": lambda picture, random: gaussian_filter(picture, 1.8),
    "contrast": lambda picture, random: (picture - picture.mean()) * 0.2 + 0.5,
    "fog": lambda picture, random: picture * 0.5 + 0.75 * gaussian_filter(random.random(picture.shape), 6),
    "rotation": lambda picture, random: rotate(picture, 40, reshape=False, order=1),
    "inversion": lambda picture, random: 1 - picture,
}


def drifted(pictures: Float[Tensor, "b 1 h w"], kind: str, seed: int) -> Float[Tensor, "b 1 h w"]:
    """The pictures, each drifted alike; what is random of a picture is a function of the seed and its place."""
    made = [DRIFTS[kind](picture, np.random.default_rng([seed, place])) for place, picture in enumerate(pictures[:, 0].double().numpy())]
    return torch.from_numpy(np.clip(np.stack(made), 0, 1)).to(pictures.dtype)[:, None]
