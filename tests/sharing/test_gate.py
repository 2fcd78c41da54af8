"""A gate that is shut: nobody is inside, nor ever will be."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from sharers import other, until

from oche.errors import LockHeld
from oche.sharing.gate import Gate

WAYS = ["spawn", "unrelated"]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_open_until_it_is_shut(way):
    with Gate() as gate, other(gate, way) as there:
        assert there("may_enter") is True
        with gate.inside() as allowed:  # several at a time
            assert allowed
            assert there("may_enter") is True
        gate.shut()
        gate.shut()
        assert there("may_enter") is False
        with gate.inside() as allowed:
            assert not allowed


def test_shutting_waits_for_those_inside():
    with Gate() as gate:
        with gate.inside() as allowed:
            assert allowed
            shutting = threading.Thread(target=gate.shut)
            shutting.start()
            until(lambda: not allowed_now(gate), "it is being shut")
            shutting.join(0.2)
            assert shutting.is_alive()
        shutting.join(10)
        assert not shutting.is_alive()


def allowed_now(gate: Gate) -> bool:
    with gate.inside() as allowed:
        return allowed


def test_who_is_killed_in_there_is_not_waited_for_and_who_is_stopped_is_named(tmp_path):
    mark = tmp_path / "inside"
    with Gate() as gate, other(gate, "spawn") as there:
        there.begin("stay_inside", str(mark))
        until(mark.exists, "somebody is inside")
        os.kill(there.pid, signal.SIGSTOP)
        with pytest.raises(LockHeld, match="a stopped process"):
            gate.shut(0.1)
        there.process.kill()
        gate.shut()
