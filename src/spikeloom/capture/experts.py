"""
Mixtures of experts, captured without shapes that depend on values: every expert reads every token, and what an unchosen one would say
counts 0.

    y = Σ_e D_e (s_e · g(U_e x))          s_e the router's share where expert e is among its top k, else 0          (1)

All U_e stand in one linear layer, all D_e in another; the share multiplies between them, so that nothing of an unchosen expert goes
into the second: no event, no synaptic operation. The sum over experts is the layer's own. The function is the library's to rounding.

Source: Shazeer et al. 2017, arXiv 1701.06538 (1); the interface, https://huggingface.co/docs/transformers/experts_interface.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import UnsupportedError

EXPERTS = "spikeloom"


def experts(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """(1): tokens [S, C], the experts chosen for each [S, K] and their shares [S, K], to [S, C].

    UnsupportedError: experts whose results are normalised before they are added up, or that lie on several devices.
    """
    if module.has_post_expert_norm or getattr(module, "_is_expert_parallel", False):
        raise UnsupportedError("experts with a norm of their own, or in parallel, are not captured yet", found=type(module).__name__)
    count = module.num_experts
    chosen = nn.functional.one_hot(top_k_index, count).to(top_k_weights.dtype)
    share = (chosen * top_k_weights.unsqueeze(-1)).sum(1)
    inner = _first(module, hidden_states).unflatten(-1, (count, -1))
    inner = module._apply_gate(inner) if module.has_gate else module.act_fn(inner)
    out = nn.functional.linear((inner * share.unsqueeze(-1)).flatten(1), _second(module))
    return out + torch.matmul(share, module.down_proj_bias) if module.has_bias else out


def _first(module: Any, x: Tensor) -> Tensor:
    """All first layers side by side: [S, C] to [S, E·I]."""
    name = "gate_up_proj" if module.has_gate else "up_proj"
    weight = getattr(module, name)
    weight = weight.transpose(1, 2) if module.is_transposed else weight
    bias = getattr(module, f"{name}_bias").flatten() if module.has_bias else None
    return nn.functional.linear(x, weight.flatten(0, 1), bias)


def _second(module: Any) -> Tensor:
    """All second layers as one that adds up: [C, E·I]."""
    weight = module.down_proj.transpose(1, 2) if module.is_transposed else module.down_proj
    return weight.transpose(0, 1).flatten(1)


def use_dense_experts(model: Any) -> None:
    """A transformers model's experts are evaluated by (1) from now on; a model without any stays as it is."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if not any(hasattr(module, "has_post_expert_norm") for module in model.modules()):
        return
    ALL_EXPERTS_FUNCTIONS.register(EXPERTS, experts)
    model.set_experts_implementation(EXPERTS)
