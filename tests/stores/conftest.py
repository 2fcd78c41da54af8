"""What the tests of stores share."""

from __future__ import annotations

import pytest

for _module in ("store_rig", "store_model", "store_suite"):
    pytest.register_assert_rewrite(f"oche.testing.{_module}")
