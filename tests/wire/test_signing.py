"""Signatures and the key."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oche.errors import BadSignature, ConfigError, KeyMissing
from oche.wire.signing import Signer, key_file, key_text, load_key

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def _own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCHE_KEY", raising=False)
    monkeypatch.setenv("OCHE_CONFIG_DIR", str(tmp_path / "config"))


@given(st.binary())
def test_what_is_sealed_opens(body: bytes) -> None:
    assert Signer(KEY).open(Signer(KEY).seal(body)) == (body, True)


def test_the_seal_is_a_line_of_hmac_sha256() -> None:
    digits = hmac.new(KEY, b"{}", hashlib.sha256).hexdigest()
    assert Signer(KEY).seal(b"{}") == b"{}\n" + digits.encode()
    assert Signer(KEY).signed


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_changed_byte_is_noticed(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Signer(KEY).seal(body))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    try:
        opened, signed = Signer(KEY).open(bytes(sealed))
    except BadSignature:
        return
    assert not signed  # its signature line is none any more
    assert opened == bytes(sealed)


def test_another_key_and_no_key_are_refused() -> None:
    sealed = Signer(KEY).seal(b"{}")
    with pytest.raises(BadSignature, match="another key"):
        Signer(b"x" * 32).open(sealed)
    with pytest.raises(BadSignature, match="no key"):
        Signer(None).open(sealed)


def test_without_a_key_nothing_is_signed_or_trusted() -> None:
    signer = Signer(None)
    assert not signer.signed
    assert signer.seal(b"{}") == b"{}"
    assert signer.open(b"{}") == (b"{}", False)
    assert Signer(KEY).open(b"{}") == (b"{}", False)
    assert Signer(KEY).open(b"") == (b"", False)
    with pytest.raises(ConfigError):
        Signer(b"")


def test_the_key_is_made_once_and_is_only_the_users() -> None:
    key = load_key(local=True)
    assert len(key) == 32
    assert load_key(local=True) == load_key(local=False) == key
    assert key_text() == key.hex()
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert key_file().parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(key_file().parent) == ["key"]


def test_without_a_key_the_remedy_is_named() -> None:
    with pytest.raises(KeyMissing, match=r"oche key.*OCHE_KEY"):
        load_key(local=False)
    assert not key_file().exists()


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    load_key(local=True)
    monkeypatch.setenv("OCHE_KEY", KEY.hex())
    assert load_key(local=False) == load_key(local=True) == KEY


@pytest.mark.parametrize("text", ["zz" * 20, "ab" * 15, "abc" * 11, "a b" * 16, "ab" * 15 + "é"])
def test_a_bad_key_in_the_environment_is_refused_and_not_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCHE_KEY", text)
    with pytest.raises(ConfigError, match="OCHE_KEY") as caught:
        load_key(local=True)
    assert text not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_key_file_that_others_can_reach_is_refused(mode: int) -> None:
    load_key(local=True)
    key_file().chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {key_file()}"):
        load_key(local=True)


@pytest.mark.parametrize("content", ["", "hello\n", "ab" * 10])
def test_a_spoiled_key_file_is_refused(content: str) -> None:
    load_key(local=True)
    key_file().write_text(content)
    with pytest.raises(ConfigError, match="the key file"):
        load_key(local=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OCHE_CONFIG_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="OCHE_KEY"):
        load_key(local=True)


def test_processes_that_start_at_once_agree_on_one_key() -> None:
    program = (
        "import sys; from oche.wire.signing import key_text\n"
        "print('ready', flush=True); sys.stdin.readline(); print(key_text())"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in several:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in several:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    keys = {process.communicate(timeout=60)[0] for process in several}
    assert len(keys) == 1
    assert keys == {load_key(local=False).hex() + "\n"}
