r"""Bounds on what rounding does to distances that a matrix product computes.

`exact` computes, for a block of rows x and a batch of queries q, a score of every pair in float32,
and must know how far the true value can be from it. Notation: D features, n = ‖x‖², r = ‖x‖,
ρ = ‖q‖, and u = 2⁻²⁴, the relative rounding error of one operation in float32.

**The product.** A sum of D products, computed in any order, with or without fused multiply-add,
differs from the exact one by at most (Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., section 3.1)

    |fl(q·x) − q·x|  ≤  γ Σ |q_j x_j|  ≤  γ ρ r,          γ = D u / (1 − D u)

where the last step is Cauchy and Schwarz. For D = 4096, γ is 2.4 · 10⁻⁴.

**Euclidean distance.** ‖x − q‖² − ρ² = n − 2 q·x orders the rows of one query as their distances
do. The factor −2 is exact. The score fl(n − 2 q·x) has the error of the product, 2 γ ρ r; that of
rounding n to float32, u n; and that of the addition, u (n + 2 ρ r (1 + γ)). Together, with what
rounding does to the computation of n and of the bound itself in float64:

    |score − (‖x − q‖² − ρ²)|  ≤  (2 γ + 4 u) ρ r  +  3 u n                                  (1)

**Cosine distance.** −cos(q, x) = −(q/ρ)·x / r. Rounding q/ρ to float32 adds u r to the error of the
product, and the factor 1/r, rounded, and the multiplication add u each, of a value that is at most
1 + γ:

    |score + cos(q, x)|  ≤  γ + 4 u                                                          (2)

**Under- and overflow.** A product that underflows, or a number below 2⁻¹²⁶ that the processor takes
for zero, is off by at most 2⁻¹²⁶ (1 + ρ + r); `TINY` covers D of these with room to spare. Rows and
queries so large that a sum could overflow get an infinite bound: nothing is known of their
distances, and they stay on every shortlist.

The bound of a pair has the form scale[q] · weight[x] + rest[x], so that it costs a few operations
per row and not per pair. Called by `exact` only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from alexnet.search.distances import Metric

UNIT = 2.0**-24
"""u: half the distance from 1 to the next larger number in float32."""
TINY = 2.0**-100
"""An absolute error, per feature, above everything that underflow can cause."""
LARGEST_NORM = 1e18
"""Norms up to this one cannot overflow: the square of it is far below 3.4 · 10³⁸."""
SMALLEST_NORM = 1e-18
"""Rows with a smaller norm have no bound for cosine distance, because 1/r might overflow."""


class BoundedQueries(NamedTuple):
    """A batch of queries as the matrix product needs them."""

    matrix: Tensor
    """float32 (Q, D): −2 q, or −q/ρ for cosine distance."""
    scale: Tensor
    """float64 (Q,): the factor of each query in the bound."""


class BoundedRows(NamedTuple):
    """What turns the matrix product with a block of rows into scores, and their bound.

    With S = matrix · xᵀ, the score is S · factor + offset, in float32.
    """

    factor: Tensor | None
    """float32 (B,), or None for 1."""
    offset: Tensor | None
    """float32 (B,), or None for 0."""
    weight: Tensor
    """float64 (B,)."""
    rest: Tensor
    """float64 (B,)."""

    def compute_scores(self, matrix: Tensor, rows: Tensor) -> Tensor:
        """Compute the scores of all pairs: queries (Q, D) and rows (B, D) → float32 (Q, B)."""
        scores = matrix @ rows.T
        if self.factor is not None:
            scores *= self.factor
        if self.offset is not None:
            scores += self.offset
        return scores


def bound_product(dimensions: int) -> float:
    """Return γ for sums of D products; infinite for sums so long that it says nothing."""
    error = dimensions * UNIT
    return error / (1 - error) if error < 0.5 else torch.inf


def bound_queries(queries: Tensor, metric: Metric) -> BoundedQueries:
    """Prepare queries, float32 (Q, D)."""
    exact = queries.double()
    norms = exact.norm(dim=1)
    gamma = bound_product(queries.shape[1])
    infinite = torch.where(norms < LARGEST_NORM, 0.0, torch.inf)
    if metric == "euclidean":
        return BoundedQueries(-2 * queries, (2 * gamma + 4 * UNIT) * norms + infinite)
    has_direction = norms > 0
    units = exact / torch.where(has_direction, norms, 1.0)[:, None]
    scale = torch.full_like(norms, gamma + 4 * UNIT)
    return BoundedQueries(-units.float(), torch.where(has_direction, scale, 0.0))


def bound_rows(norms: Tensor, dimensions: int, metric: Metric) -> BoundedRows:
    """Prepare a block of rows, given their norms in float64 (B,)."""
    tiny = dimensions * TINY
    infinite = torch.where(norms < LARGEST_NORM, 0.0, torch.inf)
    if metric == "euclidean":
        squares = norms.square()
        rest = 3 * UNIT * squares + tiny * (1 + norms) + infinite
        return BoundedRows(None, squares.float(), norms + tiny, rest)
    is_bounded = (norms > SMALLEST_NORM) & (norms < LARGEST_NORM)
    factor = torch.where(is_bounded, 1 / norms, 0.0).float()
    rest = torch.where(is_bounded, tiny / norms, torch.inf)
    rest = torch.where(norms == 0, tiny, rest)  # the score of zeros is 0, which is exact
    return BoundedRows(factor, None, torch.ones_like(norms), rest)
