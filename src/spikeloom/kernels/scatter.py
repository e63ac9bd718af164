"""
Event-driven layers in whole numbers: every event adds its column of weights to the currents it reaches, and nothing else is touched.

    linear        acc[o] += w[i, o]·k                                 for an event of level k at input i          (1)
    convolution   acc[y', x', o] += w[ky, kx, i, o]·k                 where y' = (y + p - d·ky) / s is whole      (2)
    sum           acc[y', x', c] += k                                 the same without weights                    (3)

Accumulators of pictures are channels-last, so that an event adds whole rows. `touched` marks the pixels that anything was added to.
"""

from typing import no_type_check

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def scatter_linear(weight, index, level, acc):
    """(1): `weight` [I, O], events `index` [E] and `level` [E], `acc` [O]."""
    for event in range(index.shape[0]):
        i, k = index[event], level[event]
        for o in range(acc.shape[0]):
            acc[o] += weight[i, o] * k


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def scatter_convolution(weight, index, level, acc, touched, size, stride, padding, dilation, groups):
    """(2): `weight` [KH, KW, I, O/groups], events by their place in [I, H, W] (`size` is (H, W)), `acc` [H', W', O], `touched` [H', W']."""
    height, width = size
    kh, kw, channels, out = weight.shape
    per_group = channels // groups
    for event in range(index.shape[0]):
        place, k = index[event], level[event]
        c, rest = divmod(place, height * width)
        y, x = divmod(rest, width)
        first = (c // per_group) * out
        for ky in range(kh):
            row = y + padding[0] - ky * dilation[0]
            if row < 0 or row % stride[0] != 0 or row // stride[0] >= acc.shape[0]:
                continue
            for kx in range(kw):
                column = x + padding[1] - kx * dilation[1]
                if column < 0 or column % stride[1] != 0 or column // stride[1] >= acc.shape[1]:
                    continue
                to_y, to_x = row // stride[0], column // stride[1]
                touched[to_y, to_x] = True
                for o in range(out):
                    acc[to_y, to_x, first + o] += weight[ky, kx, c, o] * k


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def scatter_sum(index, level, acc, touched, size, kernel, stride, padding):
    """(3): events by their place in [C, H, W], `acc` [H', W', C], `touched` [H', W', C]."""
    height, width = size
    for event in range(index.shape[0]):
        c, rest = divmod(index[event], height * width)
        y, x = divmod(rest, width)
        for ky in range(kernel[0]):
            row = y + padding[0] - ky
            if row < 0 or row % stride[0] != 0 or row // stride[0] >= acc.shape[0]:
                continue
            for kx in range(kernel[1]):
                column = x + padding[1] - kx
                if column < 0 or column % stride[1] != 0 or column // stride[1] >= acc.shape[1]:
                    continue
                acc[row // stride[0], column // stride[1], c] += level[event]
                touched[row // stride[0], column // stride[1], c] = True
