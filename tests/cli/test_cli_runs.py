"""`oche runs` and `oche key`: what is kept on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess

from cli_shell import Shell

from farms import Farm, until
from oche.queues.opening import open_queue


def count_calls(shell: Shell) -> int:
    log = shell.folder / "calls"
    return len(log.read_text().split()) if log.exists() else 0


def test_a_killed_run_is_resumed_by_name(shell: Shell, farm: Farm) -> None:
    log, gate = shell.folder / "calls", shell.folder / "gate"
    (shell.folder / "counting.py").write_text(
        f"import os, time\ndef call(x):\n    with open({str(log)!r}, 'a') as log:\n        log.write(f'{{x}}\\n')\n"
        f"    end = time.monotonic() + 60\n    while int(x) >= 12 and not os.path.exists({str(gate)!r}):\n"
        "        assert time.monotonic() < end\n        time.sleep(0.01)\n    return x * x\n"
    )
    farm.worker("--slots", "2")
    client = shell.start("run", "counting.py:call", "--range", "60", "--on", farm.url, "--run", "night")
    try:
        until(lambda: count_calls(shell) >= 10, "ten calls ran")
        running = json.loads(shell.run("runs", "show", "night", "--json").stdout)
        assert running["in_use"] is True
        assert "in use" in shell.run("runs", "resume", "night", code=1).stderr
        assert "in use" in shell.run("runs", "forget", "night", "--yes", code=1).stderr
    finally:
        client.kill()
        client.communicate()
    gate.touch()
    resumed = shell.run("runs", "resume", "night")
    assert resumed.stdout == "".join(f"{x * x}\n" for x in range(60))
    assert "counting.py:call" in resumed.stderr
    assert count_calls(shell) < 80, "finished calls ran again"
    ran = count_calls(shell)
    assert shell.run("runs", "resume", "night").stdout == resumed.stdout
    assert count_calls(shell) == ran


def test_list_show_forget(shell: Shell) -> None:
    assert "no named runs" in shell.run("runs", "list").stderr
    shell.run("run", "work.py:square", "--range", "3", "--workers", "1", "--run", "small")
    assert "small" in shell.run("runs", "list").stdout
    shown = shell.run("runs", "show", "small").stdout
    assert "3 of 3 known ones are finished" in shown
    assert str(shell.folder) in shown
    shell.run("runs", "forget", "small", stdin="n\n", code=130)
    assert "small" in shell.run("runs", "list").stdout
    assert shell.run("runs", "forget", "small", "--yes").stdout == "run 'small' is forgotten\n"
    assert json.loads(shell.run("runs", "list", "--json").stdout) == []


def test_forgetting_leaves_nothing_on_the_broker(shell: Shell, farm: Farm) -> None:
    client = shell.start("run", "work.py:square", "--range", "1", "--on", farm.url, "--run", "gone")
    with open_queue(farm.url) as queue:
        try:
            until(lambda: queue.stats("oche.work").ready, "the job is put")
        finally:
            client.kill()
            client.communicate()
        queue.put("oche.reply.gone", b"an answer that came too late")
        shell.run("runs", "forget", "gone", "--yes")
        assert queue.tubes("oche.reply.") == []
        assert len(queue.signals("oche.stop.")) == 1, "the job that is still out is called off"


def test_ctrl_c_says_how_to_go_on(shell: Shell) -> None:
    process = shell.start("run", "work.py:late", "--workers", "1", "--run", "half", stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("1\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "`oche runs resume half`" in err


def test_key(shell: Shell) -> None:
    where = shell.run("key", "--where").stdout.strip()
    with_key = shell.run("key")
    assert re.fullmatch(r"[0-9a-f]{64}\n", with_key.stdout)
    assert with_key.stderr == ""
    assert shell.run("key").stdout == with_key.stdout
    with open(where) as file:
        assert file.read() == with_key.stdout
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert json.loads(shell.run("key", "--json").stdout) == {"key": with_key.stdout.strip(), "where": where}
    assert shell.run("key", OCHE_KEY="AB" * 16).stdout == "ab" * 16 + "\n"
    assert shell.run("key", "--where", OCHE_KEY="ab" * 16).stdout == "OCHE_KEY\n"
