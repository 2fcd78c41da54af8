"""The Celery application, as client and workers both import it; broker and options come by the environment."""

from __future__ import annotations

import os

from celery import Celery

from work import TASKS

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BACKEND"])
if os.environ.get("BENCH_LATE"):
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
tasks = {fn.__name__: app.task(fn, name=fn.__name__) for fn in TASKS}
