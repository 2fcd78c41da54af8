"""A key and journals of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    for name in ("OCHE_URL", "OCHE_KEY"):
        monkeypatch.delenv(name, raising=False)
