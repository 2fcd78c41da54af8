"""A server in the care of an engine: it ends with this process, whichever thread opened it."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from oche.servers.server import Server


class Kept:
    """Starts the server in a thread that lasts as long, since that is whose end the system tells a child process of."""

    def __init__(self, server: Server) -> None:
        """Raises what `server.start` raises."""
        server.ends_with_us = True
        self._server = server
        self._over = threading.Event()
        self._up = Future[None]()
        self._thread = threading.Thread(target=self._keep, name="oche-server", daemon=True)
        self._thread.start()
        try:
            self._up.result()
        except BaseException:  # or somebody interrupts us: it ends as soon as it is up
            self._over.set()
            raise

    def _keep(self) -> None:
        try:
            self._server.start()
        except BaseException as error:
            self._up.set_exception(error)
            return
        self._up.set_result(None)
        self._over.wait()
        self._server.stop()

    def close(self) -> None:
        """Stops it; may be called twice."""
        self._over.set()
        self._thread.join()
