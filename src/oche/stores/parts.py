"""What drivers share whose values are keys of a server: cut into parts, each with a life that the owner renews.

    oche:value:NAME:0, 1, 2 ...    the parts of a value; NAME is SIZE.PART.TOKEN, or SIZE.PART.TOKEN.DIGEST

`close` deletes what a store made. When its process is killed, nobody renews its values, and the server drops them
`LIFE` seconds later. A process that is stopped for longer than that, as by a laptop's lid, finds its values gone.
"""

from __future__ import annotations

import os
import re
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from oche.errors import OcheError, StoreError, ValueLost
from oche.stores.mapping import flat, in_children
from oche.stores.seam import Buffer, Store

#: Seconds that a part lives unless it is renewed, and from one renewal to the next: the server or the network may be
#: away for eight minutes, and what a dead owner left takes room for ten at most.
LIFE, PACE = 600, 120

PREFIX = "oche:value:"

_NAME = re.compile(r"(0|[1-9]\d{0,18})\.([1-9]\d{0,9})\.[0-9a-f]{16}(?:\.[0-9a-f]{32})?", re.ASCII)


class PartStore(Store):
    """A driver gives what its server does with one part, and raises `StoreError` only."""

    def __init__(self, where: str, part: int) -> None:
        """`where` names the server in messages; `part` is in bytes."""
        self._where = where
        self._part = part
        self._own_nothing()
        in_children(self._own_nothing)

    def _own_nothing(self) -> None:
        """At first, and in a forked child: there all is the parent's."""
        self._mine: set[str] = set()
        self._renewal: _Renewal | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def _check_room(self, size: int) -> None:
        """Raises `StoreFull` for a value that the server cannot hold."""

    @abstractmethod
    def _set(self, key: str, data: memoryview) -> None:
        """Keeps a part for `LIFE` seconds."""

    @abstractmethod
    def _get(self, key: str) -> bytes | None:
        """A part; None if it is not there."""

    @abstractmethod
    def _renew(self, keys: list[str]) -> None:
        """Has the parts live for another `LIFE` seconds."""

    @abstractmethod
    def _delete(self, keys: list[str]) -> None:
        """Forgets parts."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Closes connections; what comes after opens new ones."""

    def put(self, data: Buffer) -> str:
        whole = flat(data)
        self._check_room(whole.nbytes)
        name = self._new_name(whole.nbytes) + self._seal(whole)
        with self._making(name):
            self._fill(name, whole)
        return name

    def give(self, data: Buffer) -> str:
        """Nobody renews it."""
        whole = flat(data)
        self._check_room(whole.nbytes)
        name = self._new_name(whole.nbytes) + self._seal(whole)
        try:
            self._fill(name, whole)
        except BaseException:
            with suppress(StoreError):
                self._delete(self._keys(name))
            raise
        return name

    def accept(self, name: str) -> memoryview:
        whole = self._read(name)
        with suppress(StoreError):  # it ends by itself
            self._delete(self._keys(name))
        return memoryview(whole).toreadonly()

    def _fill(self, name: str, whole: memoryview) -> None:
        for number, key in enumerate(self._keys(name)):
            self._set(key, whole[number * self._part : (number + 1) * self._part])

    def get(self, name: str) -> memoryview:
        return memoryview(self._read(name)).toreadonly()

    def take(self, name: str) -> memoryview:
        return memoryview(self._read(name))

    def delete(self, name: str) -> None:
        with self._lock:
            if name not in self._mine:
                return
            self._mine.remove(name)
        with suppress(StoreError):  # out of reach: it is renewed no more
            self._delete(self._keys(name))

    def close(self) -> None:
        with self._lock:
            names, renewal = list(self._mine), self._renewal
            self._mine.clear()
            self._renewal = None
        if renewal is not None:
            renewal.close()
        with suppress(StoreError):  # out of reach: no other is asked for in vain
            for name in names:
                self._delete(self._keys(name))
        self._disconnect()

    def _new_name(self, size: int) -> str:
        return f"{size}.{self._part}.{os.urandom(8).hex()}"

    def _seal(self, whole: memoryview) -> str:
        """What a driver adds to the name, to know the value again."""
        return ""

    def _measures(self, name: str) -> tuple[int, int]:
        """Bytes of a value, and of each of its parts but the last."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueLost(f"{name[:100]!r} is not the name of a value on a server")
        return int(match[1]), int(match[2])

    def _keys(self, name: str) -> list[str]:
        """Of all parts. An empty value has one, too, so that it can be lost."""
        size, part = self._measures(name)
        return [self._key(name, number) for number in range(max(1, -(-size // part)))]

    def _key(self, name: str, number: int) -> str:
        return f"{PREFIX}{name}:{number}"

    def _read(self, name: str) -> bytearray:
        size, part = self._measures(name)
        whole = bytearray()
        while True:
            found = self._get(self._key(name, len(whole) // part))
            if found is None or len(found) != min(part, size - len(whole)):
                raise self._lost(name)
            whole += found
            if len(whole) == size:
                return whole

    def _lost(self, name: str) -> ValueLost:
        return ValueLost(
            f"the value {name} is not in {self._where}: its owner ended or deleted it, the server dropped it or began "
            "anew, or this is not the server that the owner sees"
        )

    @contextmanager
    def _making(self, name: str) -> Iterator[None]:
        """A value is renewed from its first part on; nothing of it stays if the others cannot be had."""
        with self._lock:
            self._mine.add(name)
            if self._renewal is None:
                self._renewal = _Renewal(self)
        try:
            yield
        except BaseException:
            self.delete(name)
            raise

    def _renew_mine(self) -> None:
        with self._lock:
            names = list(self._mine)
        for name in names:
            self._renew(self._keys(name))


class _Renewal:
    """A thread that renews the values of a store until it is closed or its process ends."""

    def __init__(self, store: PartStore) -> None:
        self._store = store
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oche-renewal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(PACE):
            with suppress(OcheError):  # the next one may reach the server
                self._store._renew_mine()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
