"""The volume of a ball in D dimensions, by N random points: `python examples/volume.py [D [N]]`."""

import math
import sys

import numpy as np

import oche
from oche.algorithms.integrate import integrate


def inside(x: np.ndarray) -> np.ndarray:
    """Which of the points, one a row, are in the unit ball."""
    return np.square(x).sum(axis=1) < 1


def main() -> None:
    """Prints the estimate and the truth, and how the one came near the other."""
    dimensions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    points = sys.argv[2] if len(sys.argv) > 2 else "1e7"
    with oche.connect() as cluster:
        volume = integrate(inside, [(-1, 1)] * dimensions, points, cluster=cluster)
    print(volume)
    truth = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)
    print(f"the ball in {dimensions} dimensions has {truth:.10g}")
    told = volume.convergence
    for n, estimate, error in zip(told.points[10::4], told.estimate[10::4], told.standard_error[10::4], strict=True):
        print(f"{n:>12,} points: {estimate:.5f}, off by {abs(estimate - truth) / error:.1f} standard errors")


if __name__ == "__main__":
    main()
