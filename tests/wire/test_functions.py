"""Functions as values: by name, with the fingerprint of their code."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from naming import plain
from oche.errors import BadMessage, WrongCode
from oche.wire import fingerprint
from oche.wire.codec import decode_values, encode_values


def double(x: int) -> int:
    return 2 * x


def test_a_function_goes_by_name_and_is_readable() -> None:
    data = encode_values([double])
    (mark,) = json.loads(data)
    assert mark["$function"] == f"{__name__}:double"
    assert mark["fingerprint"].startswith("sha256:")
    assert decode_values(data, trusted=True) == [double]
    with pytest.raises(BadMessage, match="unsigned"):
        decode_values(data, trusted=False)


@pytest.mark.parametrize("function", [len, np.add, np.sin, str.upper, lambda x: 3 * x], ids=plain)
def test_others_go_as_they_did(function: object) -> None:
    (back,) = decode_values(encode_values([function]), trusted=True)
    assert back is function or back(2) == 6  # type: ignore[operator]


def test_one_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_operator.py"
    file.write_text("def op(a, b):\n    return a + b\n")
    data = encode_values([importlib.import_module("edited_operator").op])
    file.write_text("def op(a, b):\n    return a * b  # edited\n")
    monkeypatch.delitem(sys.modules, "edited_operator")
    fingerprint.of_module.cache_clear()
    try:
        with pytest.raises(WrongCode, match="edited_operator:op"):
            decode_values(data, trusted=True)
    finally:
        monkeypatch.delitem(sys.modules, "edited_operator")
        fingerprint.of_module.cache_clear()
