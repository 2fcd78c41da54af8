"""The huey instance, as client and consumers both import it."""

from __future__ import annotations

import os

from huey import RedisHuey

from work import TASKS

huey = RedisHuey("bench", url=os.environ["BENCH_BROKER"])
tasks = {fn.__name__: huey.task()(fn) for fn in TASKS}
