"""
Spiking attention: a drop-in for `torch.nn.MultiheadAttention` that computes in spikes, and can be trained.

    x̂      = spikes of query, key, value                   signed, N levels a sign                       (1)
    q̂, k̂, v̂ = spikes of W_q x̂ + b_q, W_k x̂ + b_k, W_v x̂ + b_v  a threshold per head and feature                 (2)
    a_ij   = q̂_i·k̂_j / √d + mask_ij                        a product of spikes; a mask is a constant current  (3)
    z_ij   = a_ij − m_i,  m_i = spike of max_j a_ij        = max_j of the spikes of a_ij                  (4)
    l_i    = log Σ_j exp z_ij                              exp neurons, a logarithm neuron               (5)
    p_ij   = min(exp(z_ij − l_i), 1)                       exp neurons                                   (6)
    y_i    = W_o ô_i + b_o,  ô = spikes of Σ_j p_ij v̂_j    a product of spikes                           (7)

(3)–(6) are `attention`'s (2)–(5) in a module. A staircase is monotone: in (4) the maximum of spikes is the spike of the maximum.
At T = 1 every operand of a product is a spike: it takes at most 2N + 1 values in its scale group. What is masked is silent, so a
row that is masked altogether has weights 0, where PyTorch's are NaN.

With T > 1 the batch is [T·B], time-major. (1), (2) and (7) integrate and fire; (3)–(6) as one function and p·v̂ as another read
running means and emit differences (`neuron.difference`): the mean of p over T is (3)–(6) of the mean of q̂ and k̂. Within one function
nothing need be differenced, for the running mean of differences is the function of running means. Returned weights are such
differences, too; their mean over T is what attends.

Everything is trained by surrogate gradients: steps, heights of exp and log, projections, and what feeds them (`populations`).

Source: attention, Vaswani et al. 2017; softmax as exp(x − logsumexp x), Blanchard, Higham & Higham 2021, doi:10.1093/imanum/draa038.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikeloom.convert.attention import MASKED
from spikeloom.convert.populations import FunctionNeurons, IdentityNeurons, Population
from spikeloom.errors import ConfigError, DataError, NumericError, UnsupportedError
from spikeloom.neuron import difference_over_time

Batch = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""What attention is called with: x for self-attention, or `forward`'s arguments, in order or by name."""
ARGUMENTS = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
EXP_SPAN, LOG_SPAN = (-8.0, 0.5), (-0.5, 8.0)
"""Before calibration: z and z − l, and log Σ exp z, for up to e⁸ keys."""


@final
class SpikingAttention(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` in spikes: its arguments, inputs, masks, results and state, with the neurons' parameters besides.

    `levels` is N; `timesteps` is T; `per_feature` gives each head and feature a threshold of its own, else each head has one. A new
    module's thresholds suit inputs of unit variance; `calibrate` fits them to data, and to its lengths and masks: (5) and (6) know
    no sums and shares but those it had.

    UnsupportedError for dropout, bias_kv and zero_attn, ConfigError for sizes that make no attention.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        levels: int = 31,
        timesteps: int = 1,
        per_feature: bool = True,
    ) -> None:
        _refuse(dropout=dropout, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn)
        _check_sizes(embed_dim, num_heads, levels, timesteps)
        super().__init__(embed_dim, num_heads, bias=bias, kdim=kdim, vdim=vdim, batch_first=batch_first, device=device, dtype=dtype)
        self._qkv_same_embed_dim = False  # PyTorch's encoder layers would go round `forward` and compute in floating point
        self.levels, self.timesteps, self.per_feature = levels, timesteps, per_feature
        self.neurons = nn.ModuleDict(self._populations()).to(device, dtype)

    @classmethod
    def from_attention(
        cls,
        module: nn.MultiheadAttention,
        calibration: Tensor | Iterable[Batch],
        levels: int = 31,
        *,
        timesteps: int = 1,
        per_feature: bool = True,
    ) -> "SpikingAttention":
        """The module in spikes, with copies of its weights, calibrated. Its dropout, which plays no part in inference, stays behind."""
        _refuse(add_bias_kv=module.bias_k is not None, add_zero_attn=module.add_zero_attn)  # pyright: ignore[reportUnnecessaryComparison]
        weight = module.out_proj.weight
        made = cls(
            module.embed_dim,
            module.num_heads,
            bias="in_proj_bias" in module.state_dict(),
            kdim=module.kdim,
            vdim=module.vdim,
            batch_first=module.batch_first,
            device=weight.device,
            dtype=weight.dtype,
            levels=levels,
            timesteps=timesteps,
            per_feature=per_feature,
        )
        made.load_state_dict(module.state_dict(), strict=False)
        return made.train(module.training).calibrate(calibration)

    @torch.no_grad()
    def calibrate(self, calibration: Tensor | Iterable[Batch]) -> "SpikingAttention":
        """Thresholds and tables for batches at T=1, as they are fed to the ANN: identities see the ANN's values, then each function
        what the spikes before it make of them."""
        batches: list[Batch] = [calibration] if isinstance(calibration, Tensor) else list(calibration)
        if not batches:
            raise DataError("no samples to calibrate attention on", found="no batches", todo="give at least one batch")
        identities = [each for each in self._all if isinstance(each, IdentityNeurons)]
        for group in (identities, *([each] for each in self._all if isinstance(each, FunctionNeurons))):
            self._settle(group, batches)
        return self

    def forward(
        self,
        query: Float[Tensor, "..."],
        key: Float[Tensor, "..."],
        value: Float[Tensor, "..."],
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."] | None]:
        """What `torch.nn.MultiheadAttention` takes and returns. With T > 1 the batch is T·B, time-major, and masks are [B, …], the same
        at all times. `is_causal` without a mask is a causal mask. DataError for shapes that do not fit each other."""
        q, k, v = self._arranged(query, key, value)
        length, keys = q.shape[1], k.shape[1]
        if is_causal and attn_mask is None:
            attn_mask = torch.ones(length, keys, dtype=torch.bool, device=q.device).triu(1)
        padding = key_padding_mask[None] if key_padding_mask is not None and query.ndim == 2 else key_padding_mask
        mask = self._mask(q, keys, padding, attn_mask)
        y, p = self._attend(q, k, v, mask)
        y = y.squeeze(0) if query.ndim == 2 else y if self.batch_first else y.transpose(0, 1)
        if not need_weights:
            return y, None
        p = p.mean(1) if average_attn_weights else p
        return y, p.squeeze(0) if query.ndim == 2 else p

    def weigh(
        self, q: Float[Tensor, "b h l d"], k: Float[Tensor, "b h s d"], mask: Float[Tensor, "#b #h #l s"] | None = None
    ) -> Float[Tensor, "b h l s"]:
        """(3)–(6): the attention weights that spikes of queries and keys make, with a mask that is added."""
        a = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.head_dim)
        a = a if mask is None else a + mask
        z = a - self.neurons["maximum"](a.amax(-1, keepdim=True))
        log_sum = self.neurons["log"](self.neurons["exp"](z).sum(-1, keepdim=True))
        return self.neurons["softmax"](z - log_sum)

    def _attend(
        self, query: Float[Tensor, "b l e"], key: Float[Tensor, "b s ek"], value: Float[Tensor, "b s ev"], mask: Tensor | None
    ) -> tuple[Float[Tensor, "b l e"], Float[Tensor, "b h l s"]]:
        """(1)–(7)."""
        steps, bias = self.timesteps, self.in_proj_bias
        weights = self.in_proj_weight.chunk(3) if self._packed else (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = bias.chunk(3) if isinstance(bias, Tensor) else (None, None, None)  # pyright: ignore[reportUnnecessaryIsInstance]
        trains: list[Tensor] = []
        for name, x, w, b in zip(("query", "key", "value"), (query, key, value), weights, biases, strict=True):
            current = nn.functional.linear(self.neurons[f"{name}_input"](x, steps), w, b)
            trains.append(self.neurons[name](current.unflatten(-1, (self.num_heads, -1)).transpose(1, 2), steps))
        q, k, v = trains
        p = difference_over_time(partial(self.weigh, mask=mask), q, k, timesteps=steps)
        o = self.neurons["output"](difference_over_time(torch.matmul, p, v, timesteps=steps), steps)
        return self.out_proj(o.transpose(1, 2).flatten(2)), p

    def _arranged(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Batch first, [T·B, L, E]; DataError for shapes that do not fit. A calibration's batch is at T=1, and every step gets it."""
        if query.is_nested:
            todo = "give padding masks; make a TransformerEncoder with enable_nested_tensor=False"
            raise UnsupportedError("attention in spikes takes no nested tensors", found="a nested query", todo=todo)
        shapes = [(*each.shape,) for each in (query, key, value)]
        if not _fitting(shapes, (self.embed_dim, self.kdim, self.vdim), self.batch_first):
            allowed = f"[L, B, E] or [L, E], E = {self.embed_dim}, {self.kdim}, {self.vdim}; with batch_first [B, L, E]"
            raise DataError("query, key and value do not fit attention", found=shapes, allowed=allowed)
        x = [each[None] if each.ndim == 2 else each if self.batch_first else each.transpose(0, 1) for each in (query, key, value)]
        if self._observing:
            if not all(bool(each.isfinite().all()) for each in x):
                raise NumericError("a calibration batch holds NaN or infinite values", found=shapes, todo="remove or mend it")
            x = [each.repeat(self.timesteps, 1, 1) for each in x]
        if len(x[0]) % self.timesteps:
            raise DataError("the batch is no multiple of T", found=len(x[0]), allowed=f"T·B rows, time-major, T = {self.timesteps}")
        return x[0], x[1], x[2]

    def _mask(self, q: Float[Tensor, "tb l e"], keys: int, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Both masks as one that is added, [1 or T·B, 1 or H, 1 or L, S]."""
        batch, length = len(q) // self.timesteps, q.shape[1]
        low = -math.inf if self._observing else max(MASKED, torch.finfo(q.dtype).min / 4)
        parts: list[Tensor] = []
        if padding is not None:
            parts.append(_added(padding, "key_padding_mask", [(batch, keys)], low, q.dtype).view(batch, 1, 1, keys))
        if mask is not None:
            heads = 1 if mask.ndim == 2 else self.num_heads
            allowed = [(length, keys), (batch * self.num_heads, length, keys)]
            parts.append(_added(mask, "attn_mask", allowed, low, q.dtype).view(-1, heads, length, keys))
        if not parts:
            return None
        total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        return total if len(total) == 1 else total.repeat(self.timesteps, 1, 1, 1)

    def _populations(self) -> dict[str, nn.Module]:
        heads, levels = self.num_heads, self.levels
        sizes = {"query": self.embed_dim, "key": self.kdim, "value": self.vdim}
        made = {f"{name}_input": IdentityNeurons((size,) if self.per_feature else (), -1, levels) for name, size in sizes.items()}
        channels, axis = ((self.embed_dim,), (1, 3)) if self.per_feature else ((heads,), 1)
        made |= {name: IdentityNeurons(channels, axis, levels) for name in (*sizes, "output")}
        made["maximum"] = IdentityNeurons((heads,), 1, levels, covers=True)
        spans = {"exp": ("exp", EXP_SPAN), "log": ("log", LOG_SPAN), "softmax": ("share", EXP_SPAN)}
        return {**made, **{name: FunctionNeurons(function, heads, levels, span) for name, (function, span) in spans.items()}}

    @property
    def _packed(self) -> bool:
        return self.kdim == self.vdim == self.embed_dim

    @property
    def _all(self) -> list[Population]:
        return [each for each in self.neurons.values() if isinstance(each, Population)]

    @property
    def _observing(self) -> bool:
        return any(population.quota for population in self._all)

    def _settle(self, populations: Sequence[Population], batches: Sequence[Batch]) -> None:
        """Thresholds for some populations; the others spike."""
        try:
            for population in populations:
                population.observe(len(batches))
            for batch in batches:
                self(**_arguments(batch))
            for population in populations:
                population.settle(self.timesteps)
        finally:
            for population in populations:
                population.observe(0)


def _arguments(batch: Batch) -> dict[str, Any]:
    """A batch as `forward`'s arguments."""
    if isinstance(batch, Mapping):
        return dict(batch)
    return dict(zip(ARGUMENTS, (batch,) * 3 if isinstance(batch, Tensor) else batch, strict=False))


def _fitting(shapes: list[tuple[int, ...]], widths: tuple[int, int, int], batch_first: bool) -> bool:
    """Whether query, key and value have the features they should, one batch size, and a value for each key."""
    query, key, value = shapes
    if not len(query) == len(key) == len(value) in (2, 3) or tuple(shape[-1] for shape in shapes) != widths:
        return False
    batch = 0 if batch_first else 1
    return key[:-1] == value[:-1] and (len(query) == 2 or query[batch] == key[batch])


def _added(mask: Tensor, name: str, allowed: list[tuple[int, ...]], low: float, dtype: torch.dtype) -> Tensor:
    """A mask as numbers to add, none below `low`."""
    if (*mask.shape,) not in allowed:
        raise DataError(f"{name} has another shape than it should", found=tuple(mask.shape), allowed=" or ".join(map(str, allowed)))
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, low)
    if not mask.is_floating_point():
        raise DataError(f"{name} is neither boolean nor floating point", found=mask.dtype, allowed="torch.bool, or numbers to add")
    return mask.to(dtype).clamp_min(low)


def _refuse(**options: object) -> None:
    """UnsupportedError for what attention in spikes has not."""
    for name, value in options.items():
        if value:
            raise UnsupportedError(f"SpikingAttention has no {name}", found=f"{name}={value}", allowed=f"{name}={type(value)()}")


def _check_sizes(embed_dim: int, num_heads: int, levels: int, timesteps: int) -> None:
    sizes = {"embed_dim": embed_dim, "num_heads": num_heads, "levels": levels, "timesteps": timesteps}
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name} is out of range", found=size, allowed="1 and more")
    if embed_dim % num_heads:
        raise ConfigError("the heads do not divide the features", found=f"embed_dim={embed_dim}, num_heads={num_heads}")
