"""The small parts by themselves: what is printed is capped, frames are put together, the sweeper sweeps."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from oche.queues.memory import MemoryQueue
from oche.wire.names import Farm
from oche.worker import frames
from oche.worker.output import Capture
from oche.worker.sweep import APART, EVERY, SERVED, Sweeper


@given(st.lists(st.binary(max_size=40)), st.integers(1, 16))
def test_capture_keeps_both_ends(chunks: list[bytes], kept: int) -> None:
    capture = Capture(kept)
    for chunk in chunks:
        capture.add(chunk)
    whole = b"".join(chunks)
    assert bool(capture) == bool(whole)
    if len(whole) <= 2 * kept:
        assert capture.text() == whole.decode(errors="replace")
    else:
        left_out = f"\n... {len(whole) - 2 * kept:,} bytes left out ...\n"
        head, tail = whole[:kept].decode(errors="replace"), whole[-kept:].decode(errors="replace")
        assert capture.text() == head + left_out + tail


@given(
    st.lists(st.tuples(st.integers(1, 11), st.integers(0, 2**32 - 1), st.binary(max_size=300)), max_size=5), st.data()
)
def test_frames_survive_any_cutting(sent: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frames.pack(*one) for one in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    incoming, got = frames.Incoming(), []
    reader, writer = os.pipe()
    try:
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            os.write(writer, stream[start:stop])
            left = stop - start
            while left:
                before = incoming_size(incoming)
                assert incoming.fill(reader)
                left -= incoming_size(incoming) - before
                while (frame := incoming.take()) is not None:
                    got.append((frame.kind, frame.number, bytes(frame.body)))
        os.close(writer)
        writer = -1
        assert incoming.fill(reader) is False
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    assert got == sent


def incoming_size(incoming: frames.Incoming) -> int:
    return incoming._filled if incoming._large is not None else len(incoming._small)


def test_a_frame_larger_than_the_pipe() -> None:
    import threading

    body = os.urandom(3_000_000)
    reader, writer = os.pipe()
    thread = threading.Thread(target=frames.write_all, args=(writer, frames.pack(frames.DONE, 7, body)))
    thread.start()
    frame = frames.read_frame(reader, frames.Incoming())
    thread.join()
    os.close(writer)
    assert frame is not None
    assert (frame.kind, frame.number, bytes(frame.body)) == (frames.DONE, 7, body)
    assert frames.read_frame(reader, frames.Incoming()) is None
    os.close(reader)


def test_the_sweeper_takes_only_what_nobody_comes_for() -> None:
    now = 0.0
    queue, client, farm = MemoryQueue(), MemoryQueue.__new__(MemoryQueue), Farm()
    client = queue.clone()
    sweeper = Sweeper(farm, clock=lambda: now)
    for run in ("_dead", "_alive", "named"):
        queue.put(farm.reply(run), b"outcome")
        queue.signal(farm.stop_run(run))
    queue.signal(farm.stop_job("job1"))
    client.put("elsewhere", b"")
    taken = client.reserve([farm.reply("_alive"), "elsewhere"], 0.0)
    assert taken is not None

    def left() -> tuple[list[str], set[str]]:
        tubes = [t.removeprefix(farm.reply_prefix) for t in queue.tubes(farm.reply_prefix) if queue.stats(t).ready]
        return tubes, {name.removeprefix(farm.stop_prefix) for name in queue.signals(farm.stop_prefix)}

    before = left()
    assert before[1] == {"run._dead", "run._alive", "run.named", "job1"}
    sweeper.sweep(queue)  # too early
    now = APART + 1.0
    sweeper.sweep(queue)  # the first look
    assert left() == before
    now += EVERY
    sweeper.sweep(queue)  # the second
    tubes, signals = left()
    assert "_dead" not in tubes
    assert "named" in tubes
    assert signals == {"run._alive", "run.named", "job1"}
    now += SERVED
    sweeper.sweep(queue)
    assert left()[1] == {"run._alive", "run.named"}
    client.close()
    queue.close()


def test_a_program_that_forks_at_once_does_not_stop_children_from_starting() -> None:
    """A process forked while a child is started holds copies of all pipes of that moment, for as long as it lives."""
    program = (
        "import multiprocessing, oche\n"
        "for _ in range(8):\n"
        "    with oche.connect('local:', max_workers=2) as cluster:\n"
        "        with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "            assert cluster.submit(abs, -1).result(20) == 1\n"
        "            assert pool.map(abs, [-2]) == [2]\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
