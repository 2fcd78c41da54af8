"""Celery: `celery+redis://host:6379/0`, `celery+amqp://user:password@host`, or `celery://package.module:app`, your own.

    OCHE_URL=celery+redis://host:6379/0 celery -A oche.engines.celery_app worker -c 4     # workers of an app of ours
    app = Celery(..., include=["oche.engines.celery_app"])                                # yours get our task so

    submit --> message of a task, signed --> a worker's child: remote.run --> answer, signed --> a queue of our own
                                                                             message acknowledged

Of an app of yours nothing else is used: its tasks, settings and result backend stay as they are. Give its workers
`worker_prefetch_multiplier = 1`, or one holds calls back while another idles.

That a message is acknowledged late, and rejected when its worker dies, is not enough: one that kills whoever takes it
would come back for ever, and on Redis that of a killed node comes back only after an hour. So what comes back is not
run; it makes us ask all workers what they have, and so does a call that is out for more than a second. What no living
worker has, nor the queue, is lost: its future ends with a `BrokenExecutor`, so that it is put again, as often as
`crashes` says. That takes a second or two where a child died, six where a whole node did. Because we ask, a call that
lasts can be acknowledged after ten minutes, before the brokers lose patience (`celery_app.LONG`). A worker that is
only slow, or cut off, may do a call a second time; the first answer counts.

What it lacks beside `local:`, and what becomes of that:

- A call that runs on another machine cannot be told to stop: it runs on, and its answer is dropped. So does one on this
  machine that does not look at `oche.stopping()`.
- A call over its time limit is interrupted in Python code only. Pools of threads cannot do that: where a worker has
  one, time limits are refused. Pools that answer nobody while they work (solo, eventlet, gevent) are refused.
- What calls print goes to the workers' own output.
- The slots are those of the workers that answer when it is opened. Without any, calls wait.
- What a killed client had out is run all the same: at most a job for each slot.
- A broker that restarts may cost a call that runs one of its tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from oche.engines.celery_app import Told, app_of, signer_of
from oche.engines.celery_calls import Calls
from oche.engines.celery_watch import errors_of
from oche.engines.seam import Engine, EngineTraits, Start
from oche.errors import ConfigError, Disconnected, Unsupported
from oche.plugins import without_password
from oche.worker.cores import usable_cores

#: Pools that answer while they work, and whether a time limit interrupts their calls.
_POOLS = {"prefork": True, "thread": False}


class CeleryEngine(Engine):
    """Workers of Celery's, which somebody has started."""

    traits = EngineTraits(here=False, timeout=True, stop=False, kill=False, survives=True, output=False)

    def __init__(self, calls: Calls, nodes: Mapping[str, Told]) -> None:
        self._calls = calls
        self.slots = sum(node.slots for node in nodes.values()) or usable_cores()
        self.traits = replace(
            self.traits,
            timeout=all(_POOLS[node.pool] for node in nodes.values()),
            stop=bool(nodes) and all(node.near for node in nodes.values()),
        )

    @classmethod
    def open(cls, url: str, start: Start) -> Self:
        where = without_password(url)
        if start.max_workers is not None or start.initializer is not None:
            raise Unsupported(
                f"the workers of {where} are not started by connect; start them with `OCHE_URL={where} celery -A "
                "oche.engines.celery_app worker -c N`, or those of your own app as ever"
            )
        app = app_of(url)
        with ExitStack() as stack:
            try:
                calls = Calls(app, signer_of(app), where)
                stack.callback(calls.shutdown)
                nodes, strangers = calls.meet()
            except errors_of(app) as error:
                raise Disconnected(
                    f"the broker of {where} is not there, or lets us not in: {error}; start it or mend the URL"
                ) from error
            if calls.distrusted:
                raise ConfigError(f"a worker of {where} answers, but {calls.distrusted}")
            if strangers:
                raise Unsupported(
                    f"the workers {', '.join(strangers)} of {where} do not answer to oche; give their app "
                    "include=['oche.engines.celery_app'], and their machine the key (`oche key`); their log tells more"
                )
            for name, node in nodes.items():
                if node.pool not in _POOLS:
                    raise Unsupported(
                        f"{name} of {where} has the pool {node.pool}, which answers nobody while it works, as if it "
                        "were dead; start it with --pool prefork"
                    )
            stack.pop_all()
        return cls(calls, nodes)

    def executor(self) -> Executor:
        return self._calls

    def close(self) -> None:
        self._calls.shutdown()
