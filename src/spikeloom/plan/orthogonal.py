"""
Orthogonal matrices that spread every channel over all others: randomised Hadamard matrices, of any size.

    H ⊗ O       H the largest Hadamard matrix whose order divides the size, O random and orthogonal, [1] where H fills it      (1)
    Q = S H̄     H̄ with columns of length 1, S random signs: |Q_ij| = n^-½ where (1) is all Hadamard                            (2)
    Q (I − 2 v vᵀ/vᵀv),  v = eQ − e,  e = n^-½ (1 … 1)        keeps the mean: e of that is e (Householder)                      (3)

Hadamard matrices are Sylvester's H₂ ⊗ H, and Paley's: I of order p + 1, p a prime of the form 4k + 3; II of order 2 (p + 1), 4k + 1.

Sources: Sylvester 1867; Paley 1933, "On orthogonal matrices"; QuaRot, Ashkboos et al. 2024, arXiv 2404.00456 (random signs, (1)).
"""

import torch
from jaxtyping import Float
from torch import Tensor

_H2 = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)


def rotation(size: int, generator: torch.Generator, *, keeps_mean: bool = False) -> Float[Tensor, "n n"]:
    """A random orthogonal matrix by (1) and (2) in float64; with `keeps_mean` by (3) too, so that the mean of x·Q is that of x."""
    order = max(n for n in range(1, size + 1) if size % n == 0 and has_hadamard(n))
    normal = torch.randn(size // order, size // order, generator=generator, dtype=torch.float64)
    rest, triangle = torch.linalg.qr(normal)
    rest = (rest * triangle.diagonal().sign()).contiguous()  # uniform over all orthogonal matrices (Mezzadri 2007)
    signs = torch.randint(0, 2, (size, 1), generator=generator).double() * 2 - 1
    q = signs * torch.kron(hadamard(order) / order**0.5, rest)
    return _keeping_mean(q) if keeps_mean else q


def _keeping_mean(q: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """(3)"""
    e = torch.full((len(q),), len(q) ** -0.5, dtype=q.dtype)
    v = e @ q - e
    length = v @ v
    return q if float(length) < 1e-20 else q - torch.outer(q @ v, v) * (2 / length)


def has_hadamard(n: int) -> bool:
    """Whether `hadamard` knows a matrix of this order."""
    return n in (1, 2) or _paley(n) > 0 or (n % 4 == 0 and has_hadamard(n // 2))


def hadamard(n: int) -> Float[Tensor, "n n"]:
    """A matrix of ±1 whose rows are orthogonal, for an order that `has_hadamard`."""
    if n <= 2:
        return _H2[:n, :n].clone()
    kind = _paley(n)
    if not kind:
        return torch.kron(_H2, hadamard(n // 2))
    size = n // kind
    core = torch.zeros(size, size, dtype=torch.float64)
    core[1:, 1:] = _residues(size - 1)
    core[0, 1:] = 1.0
    core[1:, 0] = -1.0 if kind == 1 else 1.0
    one = torch.eye(size, dtype=torch.float64)
    return core + one if kind == 1 else torch.kron(core, _H2) + torch.kron(one, torch.tensor([[1.0, -1.0], [-1.0, -1.0]]).double())


def _paley(n: int) -> int:
    """1 or 2 where Paley's construction of that kind gives order n, else 0."""
    if n % 4:
        return 0
    if _is_prime(n - 1):  # n - 1 = 4k + 3
        return 1
    return 2 if n // 2 % 4 == 2 and _is_prime(n // 2 - 1) else 0


def _is_prime(p: int) -> bool:
    return p > 1 and all(p % divisor for divisor in range(2, int(p**0.5) + 1))


def _residues(p: int) -> Float[Tensor, "p p"]:
    """Jacobsthal's matrix: +1 where i − j is a square modulo p, −1 where it is none, 0 on the diagonal."""
    squares = {x * x % p for x in range(1, p)}
    signs = torch.tensor([0.0, *[1.0 if k in squares else -1.0 for k in range(1, p)]], dtype=torch.float64)
    place = torch.arange(p)
    return signs[(place[:, None] - place) % p]
