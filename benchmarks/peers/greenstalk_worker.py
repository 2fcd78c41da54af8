"""A bare worker: reserve, put the answer, delete. Nothing is signed, counted, renewed or retried."""

from __future__ import annotations

import json
import sys

import greenstalk

import work


def main(port: int) -> None:
    queue = greenstalk.Client(("127.0.0.1", port), use="answers", watch="jobs")
    while True:
        job = queue.reserve()
        number, name, x = json.loads(job.body)
        queue.put(json.dumps([number, getattr(work, name)(x)]))
        queue.delete(job)


if __name__ == "__main__":
    main(int(sys.argv[1]))
