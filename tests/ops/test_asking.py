"""Asking workers on a broker that cannot delete one job by its id."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from farms import Farm, until
from oche.errors import Unsupported
from oche.ops.asking import Asking
from oche.queues.sqlite import SQLiteQueue
from oche.wire.names import Farm as Names
from oche.wire.signing import Signer, load_key
from oche.worker.about import about


class LineQueue(SQLiteQueue):
    """The asker's driver."""

    def discard(self, id: str) -> NoReturn:
        raise Unsupported("one job cannot be deleted here")


def test_a_question_that_nobody_took_is_taken_back(tmp_path: Path) -> None:
    names, signer = Names(), Signer(load_key(local=True))
    with LineQueue(tmp_path / "jobs.db") as queue:
        for before in (None, b"another's"):
            if before is not None:
                queue.put(names.node("gone.1.1"), before, priority=0)
            (answer,) = Asking(queue, signer, names).ask(["gone.1.1"], 0.1)
            assert (answer.worker, answer.about, answer.problem) == ("gone.1.1", None, "")
            assert queue.stats(names.node("gone.1.1")).ready == (before is not None)


def test_each_worker_answers_for_itself(tmp_path: Path) -> None:
    farm, names, signer = Farm("sqlite", tmp_path, slots=1), Names(), Signer(load_key(local=True))
    try:
        with LineQueue(tmp_path / "jobs.db") as queue:
            pids = {farm.worker("--slots", "2").pid, farm.worker("--slots", "1").pid}
            until(lambda: queue.stats(names.work).waiting == 3, "three slots wait")
            workers = [name.removeprefix(names.node_prefix) for name in queue.tubes(names.node_prefix)]
            answers = Asking(queue, signer, names).ask(workers, 10.0)
        assert {int(answer.worker.split(".")[1]) for answer in answers} == pids
        for answer in answers:
            assert answer.about is not None
            assert answer.about["code"] == about()["code"]
            assert answer.sent <= float(answer.about["time"]) <= answer.received
        assert len({answer.about["pid"] for answer in answers if answer.about}) == 2
    finally:
        farm.close()
