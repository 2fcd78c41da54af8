"""A Celery app of somebody else's, on a Redis that hands a message out again after a second."""

from __future__ import annotations

import os

from celery import Celery

from oche.engines import celery_app

celery_app.LONG = float(os.environ.get("LONG", celery_app.LONG))
app = Celery("impatient", broker=os.environ.get("BROKER"), include=["oche.engines.celery_app"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 1, "unacked_restore_interval": 0.5, "unacked_restore_throttle": 1,
    },
)  # fmt: skip


@app.task
def theirs(x: int) -> int:
    """A task of their own."""
    return x + 1
