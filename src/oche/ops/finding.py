"""What a doctor finds: one thing that is so, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """From good to bad."""

    OK = "ok"
    NOTE = "note"  # to be known; nothing has to be done
    WARNING = "warning"  # it works until something happens
    ERROR = "error"  # it does not work, or somebody else may make it not work


_ORDER = tuple(Severity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str  #: "durability", "workers"
    severity: Severity
    text: str  #: what is so
    remedy: str = ""  #: one line; empty where nothing is to be done


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All that was found, in the order in which it was looked at."""

    url: str  #: without its password
    reachable: bool  #: the broker answered
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Severity:
        return worst(self.findings)


def ok(topic: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(topic=topic, severity=Severity.OK, text=text)


def note(topic: str, text: str, remedy: str = "") -> Finding:
    """It is good to know."""
    return Finding(topic=topic, severity=Severity.NOTE, text=text, remedy=remedy)


def warning(topic: str, text: str, remedy: str) -> Finding:
    """It works until something happens."""
    return Finding(topic=topic, severity=Severity.WARNING, text=text, remedy=remedy)


def error(topic: str, text: str, remedy: str) -> Finding:
    """It does not work, or somebody may make it not work."""
    return Finding(topic=topic, severity=Severity.ERROR, text=text, remedy=remedy)


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst severity among them; OK of nothing."""
    return max((finding.severity for finding in findings), key=_ORDER.index, default=Severity.OK)
