"""What every engine has to get right, to the last digit."""

from __future__ import annotations

import numpy as np

import oche


def check_exact(cluster: oche.Cluster) -> None:
    """The count of darts, the book's factor by early exit, and a product of integer matrices."""
    assert oche.pi(3_000_000, cluster=cluster, seed=5).inside == oche.pi(3_000_000, seed=5).inside
    assert oche.smallest_factor(100109100129101027, cluster=cluster) == 171656941
    a, b = np.random.default_rng(7).integers(-99, 99, (2, 90, 90))
    assert np.array_equal(oche.matmul(a, b, cluster=cluster), a @ b)
