"""A grid search of scikit-learn's on joblib's own backend, loky, and on oche's, turn by turn in one run.

    python benchmarks/joblib_search.py [--rounds 5] [--quick]

Two workers each, started and warm before the clock runs. `short`: many fits of some milliseconds; `long`: fewer of some
tenths of a second; `large`: an array of 80 MB, which both hand over by reference. All must find the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

import oche.plug.joblib
from machine import describe, versions

SLOTS = 2
#: What oche should cost at most, to loky.
GOAL = 1.1


def searches(quick: bool) -> dict[str, tuple[GridSearchCV, Any, Any]]:
    """By name: a search, and what it is to be fitted to."""
    less = 4 if quick else 1

    def grid(model: Any, options: dict[str, Any], samples: int, features: int) -> tuple[GridSearchCV, Any, Any]:
        x, y = make_classification(samples // less, features, random_state=1)
        return GridSearchCV(model, options, cv=5, n_jobs=SLOTS, refit=False), x, y

    few = 40 // less
    return {
        "short": grid(LogisticRegression(), {"C": np.logspace(-3, 1, few).tolist()}, 400, 10),
        "long": grid(DecisionTreeClassifier(random_state=1), {"max_depth": list(range(4, 12))}, 2_000, 40),
        "large": grid(SGDClassifier(max_iter=2, tol=None, random_state=1), {"alpha": [1e-4, 1e-3, 1e-2]}, 50_000, 200),
    }  # fmt: skip


def seconds(search: GridSearchCV, x: Any, y: Any) -> tuple[float, list[float]]:
    """How long it takes, and the scores that it finds."""
    began = time.perf_counter()
    search.fit(x, y)
    return time.perf_counter() - began, search.cv_results_["mean_test_score"].tolist()


def compared(name: str, run: Callable[[str], tuple[float, list[float]]], rounds: int) -> str:
    """A line of the table. Raises `SystemExit` if the two do not find the same."""
    taken: dict[str, list[float]] = {"loky": [], "oche": []}
    scores = {backend: run(backend)[1] for backend in taken}  # and both are warm
    if scores["loky"] != scores["oche"]:
        raise SystemExit(f"{name}: oche found other scores than loky")
    for turn in range(rounds):
        for backend in sorted(taken, reverse=turn % 2 == 1):
            taken[backend].append(run(backend)[0])
    loky, own = (statistics.median(taken[backend]) for backend in ("loky", "oche"))
    return f"| {name} | {loky:.3f} s | {own:.3f} s | {own / loky:.2f} | {'yes' if own <= GOAL * loky else '**no**'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small run that shows that all works")
    options = parser.parse_args()
    print(*describe(), versions(["joblib", "scikit-learn", "numpy"]), sep="\n")
    print(f"\n| search | loky | oche, local: | ratio | at most {GOAL} |\n| --- | --- | --- | --- | --- |")
    with oche.connect("local:", max_workers=SLOTS) as cluster:
        for name, (search, x, y) in searches(options.quick).items():

            def run(backend: str, search: GridSearchCV = search, x: Any = x, y: Any = y) -> tuple[float, list[float]]:
                where = {"cluster": cluster} if backend == "oche" else {}
                with joblib.parallel_config(backend, **where):
                    return seconds(search, x, y)

            print(compared(name, run, 1 if options.quick else options.rounds), flush=True)


if __name__ == "__main__":
    main()
