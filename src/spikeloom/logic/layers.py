"""
Logic-gated layers: weights -1, 0 and 1, spikes 0 and 1; a layer counts, a neuron is a threshold gate.

    c = Σ_i t_i·s_i          a count: whole numbers, t ∈ {-1, 0, 1}, s ∈ {0, 1}                  (1)
    s = 1[c ≥ θ]             a gate, θ a whole number                                            (2)

Training keeps θ in the form of a normalisation, z = (c - μ)/σ + β ≥ 0 with the batch's mean and deviation, because c then has the size a
surrogate gradient needs; that is (2) with θ = ⌈μ - βσ⌉. In evaluation mode a layer uses θ itself: what is measured is what `freeze` writes.

Between layers go either counts or spikes: `Bits`, `Gate` and `OrPool2d` give spikes, `TernaryLinear` and `TernaryConv2d` turn spikes into
counts, `Residual` adds counts to counts, `Readout` turns counts into logits.

Source: Courbariaux et al. 2016, arXiv:1602.02830 (batch norm folded into thresholds of binary networks).
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn import functional as F

from spikeloom.errors import ConfigError, NumericError
from spikeloom.kernels.packed import check_range
from spikeloom.logic.ternary import SHARE, ternary
from spikeloom.neuron import spike

INITIAL = 0.1
"""The deviation of latent weights at the start; their learning rate is relative to it."""
EPSILON = 1e-5
MOMENTUM = 0.1


def _latent(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * INITIAL)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"a logic-gated layer cannot have this {name}", found=size, allowed="1 or more")


@final
class TernaryLinear(nn.Module):
    """Spikes [..., inputs] → counts [..., outputs]; (1). `latent` is what training moves, `share` how large a weight is that is not 0.

    Raises ConfigError for sizes under 1, NumericError for more inputs than a count of 32 bits can hold."""

    def __init__(self, inputs: int, outputs: int, share: float = SHARE) -> None:
        super().__init__()
        _check_sizes(inputs=inputs, outputs=outputs)
        check_range(inputs)
        self.share = share
        self.latent = _latent(outputs, inputs)

    def forward(self, x: Float[Tensor, "*any i"]) -> Float[Tensor, "*any o"]:
        """(1)"""
        return F.linear(x, ternary(self.latent, self.share))


@final
class TernaryConv2d(nn.Module):
    """Spikes [B, inputs, H, W] → counts [B, outputs, H', W']; (1). What lies outside the picture is silent.

    Raises ConfigError for sizes under 1 or groups that do not divide the channels, NumericError as `TernaryLinear` does."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        share: float = SHARE,
    ) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        _check_sizes(inputs=inputs, outputs=outputs, height=size[0], width=size[1], stride=stride, groups=groups)
        if inputs % groups or outputs % groups:
            raise ConfigError("groups do not divide the channels", found=f"{groups} groups", allowed=f"divisors of {inputs} and {outputs}")
        check_range(inputs // groups * size[0] * size[1])
        self.stride, self.padding, self.groups, self.share = stride, padding, groups, share
        self.latent = _latent(outputs, inputs // groups, *size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """(1)"""
        return F.conv2d(x, ternary(self.latent, self.share), None, self.stride, self.padding, 1, self.groups)


@final
class Gate(nn.Module):
    """Counts [B, C, ...] → spikes of the same shape, each channel with a threshold of its own; (2)."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, width: float = 1.0) -> None:
        super().__init__()
        _check_sizes(channels=channels)
        self.width = width
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def thresholds(self) -> Float[Tensor, " c"]:
        """θ of (2): whole numbers."""
        return torch.ceil(self.mean - self.shift.detach() * (self.variance + EPSILON).sqrt())

    def forward(self, x: Float[Tensor, "b c *any"]) -> Float[Tensor, "b c *any"]:
        """(2), with the surrogate gradient of a triangle as wide as the counts' deviation."""
        x = x.float()
        if not self.training:
            return (x >= _along(self.thresholds(), x)).to(x.dtype)
        z = F.batch_norm(x, self.mean, self.variance, None, None, True, MOMENTUM, EPSILON)
        return spike(z + _along(self.shift, x), "triangle", self.width)


@final
class Readout(nn.Module):
    """Counts [B, classes] → logits: a whole-number offset for each class, and in training one scale for all, which changes no answer."""

    mean: Tensor
    variance: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        _check_sizes(classes=classes)
        self.shift = nn.Parameter(torch.zeros(classes))
        self.gain = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(classes))
        self.register_buffer("variance", torch.ones(()))

    def offsets(self) -> Float[Tensor, " c"]:
        """What is added to each class's count: whole numbers."""
        return torch.round(self.shift.detach() / self.scale() - self.mean)

    def scale(self) -> Tensor:
        """Logits per count."""
        return torch.exp(self.gain.detach()) / (self.variance + EPSILON).sqrt()

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Logits."""
        x = x.float()
        if not self.training:
            return (x + self.offsets()) * self.scale()
        mean, variance = x.mean(0), x.var(0, correction=0).mean()
        with torch.no_grad():
            self.mean.lerp_(mean, MOMENTUM)
            self.variance.lerp_(variance, MOMENTUM)
        return (x - mean) / (variance + EPSILON).sqrt() * torch.exp(self.gain) + self.shift


@final
class Bits(nn.Module):
    """Values [B, C, ...] → spikes [B, C·K, ...]: one for each of K thresholds that the value reaches.

    `thresholds` [K], the same for all channels, are a thermometer code; [C, K], drawn at random for each channel, a rate code
    (`rate_bits`). They are learnt where `learnt`; for whole bits, one threshold of 0.5 changes nothing.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Sequence[float] | Float[Tensor, "c k"] = (0.5,), learnt: bool = False, width: float = 0.25) -> None:
        super().__init__()
        if not isinstance(thresholds, Tensor) and list(thresholds) != sorted(set(thresholds)):
            raise ConfigError("a thermometer has rising thresholds", found=tuple(thresholds), allowed="each above the one before")
        values = torch.as_tensor(thresholds, dtype=torch.float32)
        if not values.numel() or not bool(values.isfinite().all()):
            raise ConfigError("inputs cannot become bits by such thresholds", found=thresholds, allowed="one or more finite numbers")
        self.width = width
        if learnt:
            self.thresholds = nn.Parameter(values)
        else:
            self.register_buffer("thresholds", values)

    @property
    def each(self) -> int:
        """K."""
        return self.thresholds.shape[-1]

    def forward(self, x: Float[Tensor, "b c *any"]) -> Float[Tensor, "b ck *any"]:
        """Of a channel its K bits follow each other."""
        steps = self.thresholds.view(1, -1 if self.thresholds.dim() > 1 else 1, self.each, *(1,) * (x.dim() - 2))
        return spike(x.unsqueeze(2) - steps, "triangle", self.width).flatten(1, 2)


def check_weights(network: nn.Module) -> None:
    """NumericError that names the ternary layers all of whose weights are 0: such a layer hands on nothing."""
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, TernaryLinear | TernaryConv2d)]
    dead = [(name, m.share) for name, m in layers if not bool(ternary(m.latent.detach(), m.share).any())]
    if dead:
        shares = sorted({share for _, share in dead})
        raise NumericError(
            "all weights of a ternary layer are 0",
            found=", ".join(name for name, _ in dead) + f" (below a share of {', '.join(f'{share:g}' for share in shares)} of the mean)",
            allowed="a weight or more that is not 0",
            todo=f"give a smaller share, such as {SHARE:g}; at that share train with a lower learning rate, or from another seed",
        )


def rate_bits(channels: int, count: int, generator: torch.Generator, learnt: bool = False) -> Bits:
    """A rate code of `count` bits a value from 0 to 1: each bit is 1 with the value as its probability, over thresholds that are drawn
    once, evenly from 0 to 1, for every channel (a channel's bits are its time steps, laid side by side)."""
    _check_sizes(channels=channels, count=count)
    return Bits(torch.rand(channels, count, generator=generator), learnt)


@final
class OrPool2d(nn.Module):
    """Spikes [B, C, H, W] → spikes: 1 where any of a window is."""

    def __init__(self, kernel: int, stride: int | None = None) -> None:
        super().__init__()
        _check_sizes(kernel=kernel)
        self.kernel, self.stride = kernel, kernel if stride is None else stride

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The maximum of each window."""
        return F.max_pool2d(x, self.kernel, self.stride)


@final
class Residual(nn.Module):
    """Counts → counts: c + body(c), or shortcut(c) + body(c). Body and shortcut begin with a gate and end with a ternary layer."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Float[Tensor, "b c *any"] | fx.Proxy) -> Float[Tensor, "b o *any2"] | fx.Proxy:
        """Whole numbers added to whole numbers; `freeze` traces it."""
        return (x if self.shortcut is None else self.shortcut(x)) + self.body(x)


LEAVES = (TernaryLinear, TernaryConv2d, Gate, Readout, Bits, OrPool2d)
"""The layers that mean one operation each."""


def _along(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel, to be combined with [B, C, ...]."""
    return values.view(1, -1, *(1,) * (x.dim() - 2))
