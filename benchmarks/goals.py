"""What oche means to reach against the peers of the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Mapping[str, Any]]
HEADER = ("goal", "wanted", "reached", "")


@dataclass(frozen=True)
class Goal:
    """A ratio, or a time, that is wanted; `value` raises `KeyError` where a figure is missing."""

    text: str
    limit: float
    value: Callable[[Figures], float]
    below: bool = False  #: reached at or below the limit instead of at or above it
    unit: str = ""


def ratio(key: str, name: str, other: str, other_key: str = "") -> Callable[[Figures], float]:
    return lambda found: found[name][key] / found[other][other_key or key]


def to_best_celery(name: str, key: str, other_key: str) -> Callable[[Figures], float]:
    """Over the better of Celery's brokers; one that was not measured does not count."""

    def value(found: Figures) -> float:
        rates = [
            found[peer][other_key] for peer in ("celery-redis", "celery-rabbitmq") if other_key in found.get(peer, {})
        ]
        if not rates:
            raise KeyError("celery")
        return float(found[name][key]) / float(max(rates))

    return value


GOALS = (
    Goal("local: one by one, to loky's rate", 1.0, ratio("one_by_one", "oche-local", "loky")),
    Goal("local: idle round trip, to loky's", 1.0, ratio("round_trip", "oche-local", "loky"), below=True),
    Goal("local: map by default, to joblib's auto", 1.0, ratio("batched", "oche-local", "joblib")),
    Goal("local: map by default, to loky by 100 (an aim)", 1.0, ratio("batched", "oche-local", "loky", "chunked")),
    Goal(
        "beanstalkd: one job a call, to plain greenstalk", 0.7,
        ratio("single", "oche-beanstalkd", "greenstalk", "one_by_one"),
    ),
    Goal(
        "beanstalkd: idle round trip", 0.6, lambda found: found["oche-beanstalkd"]["round_trip"] * 1e3,
        below=True, unit=" ms",
    ),
    Goal(
        "beanstalkd: a loop of submits, to Celery's best one by one", 10.0,
        to_best_celery("oche-beanstalkd", "one_by_one", "one_by_one"),
    ),
    Goal(
        "beanstalkd: map by default, to Celery's best chunks(100)", 5.0,
        to_best_celery("oche-beanstalkd", "batched", "chunked"),
    ),
)  # fmt: skip

#: Of oche on a broker, to what else stands on the same one.
BROKERS = (
    Goal("Redis: one by one, to Celery on Redis", 3.0, ratio("one_by_one", "oche-redis", "celery-redis")),
    Goal("RabbitMQ: one by one, to Celery on RabbitMQ", 3.0, ratio("one_by_one", "oche-rabbitmq", "celery-rabbitmq")),
)


def reached(found: Figures, goals: Sequence[Goal] = GOALS) -> list[dict[str, Any]]:
    """Each goal with its value and whether it was reached; both None where a figure is missing."""
    results = []
    for goal in goals:
        try:
            value = goal.value(found)
        except KeyError:
            results.append({"goal": goal.text, "value": None, "reached": None})
            continue
        good = value <= goal.limit if goal.below else value >= goal.limit
        results.append({"goal": goal.text, "value": value, "reached": good})
    return results


def rows(found: Figures, goals: Sequence[Goal] = GOALS) -> list[list[str]]:
    """For the table."""
    lines = []
    for goal, result in zip(goals, reached(found, goals), strict=True):
        sign = "at most" if goal.below else "at least"
        value, good = result["value"], result["reached"]
        words = ["not measured", "-"] if value is None else [f"{value:.2f}{goal.unit}", "yes" if good else "**no**"]
        lines.append([goal.text, f"{sign} {goal.limit:g}{goal.unit}", *words])
    return lines
