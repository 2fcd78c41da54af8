"""From a URL to a store, and a cluster's own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import store_chores

import errands
import oche
from farms import Farm
from oche.errors import ConfigError, Disconnected, JournalError, StoreError, Unsupported, ValueLost
from oche.stores.opening import open_store

DEFAULT = "memory:" if sys.platform == "linux" else "files:"


def test_a_url_names_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for url in ("files:", f"files://{tmp_path}", *(["memory:"] if sys.platform == "linux" else [])):
        with open_store(url) as store:
            assert open_store(store.url).url == store.url


@pytest.mark.parametrize("url", ["", "nothing", "/tmp", "c:\\values", "http://host", "://", ":", "files", "[::1]:x"])
def test_a_url_without_a_known_scheme(url: str) -> None:
    with pytest.raises(ConfigError, match="scheme of a store; known are files, memcached, memory, redis"):
        open_store(url)


def install(folder: Path, module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of somebody else's, as pip would install it."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[oche.stores]\n{module} = {module}:Mine\n")
    monkeypatch.syspath_prepend(str(folder))


def test_others_bring_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from oche.stores.shared_memory import SharedMemoryStore\n" + (
        "class Mine(SharedMemoryStore):\n    @classmethod\n    def open(cls, url): return cls()\n"
    )
    install(tmp_path, "minestore", text, monkeypatch)
    with open_store("minestore://x") as store:
        assert type(store).__name__ == "Mine"


def test_a_driver_whose_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "lackstore", "import no_such_library\n", monkeypatch)
    with pytest.raises(ConfigError, match=r"needs the package 'no_such_library'.*oche\[lackstore\]"):
        open_store("lackstore://x")
    install(tmp_path, "brokenstore", "import oche.no_such_room\n", monkeypatch)
    with pytest.raises(ModuleNotFoundError, match="no_such_room"):
        open_store("brokenstore://x")


# A cluster's store


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("OCHE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize("engine", ["local", "sqlite"])
def test_where_all_workers_are_here_it_is_memory(engine: str, tmp_path: Path) -> None:
    url = {"local": "local:", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}[engine]
    with oche.connect(url) as cluster:
        assert cluster.store is not None
        assert cluster.store.url.startswith(DEFAULT)
        name = cluster.store.put(b"x")
    with open_store(cluster.store.url) as witness, pytest.raises(ValueLost):
        witness.get(name)


def test_where_workers_may_be_elsewhere_there_is_none(tmp_path: Path) -> None:
    farm = Farm("beanstalkd", tmp_path)
    try:
        with oche.connect(farm.url) as cluster:
            assert cluster.store is None
        with oche.connect(farm.url, store=f"files://{tmp_path}") as cluster:
            assert cluster.store is not None
            cluster.store.put(b"x")
            assert [name for name in os.listdir(tmp_path) if name.startswith("oche-")]
        assert not [name for name in os.listdir(tmp_path) if name.startswith("oche-")]
    finally:
        farm.close()


def test_a_folder_serves_workers_and_ends_with_the_cluster(tmp_path: Path) -> None:
    with oche.connect("local:", store=f"files://{tmp_path}", max_workers=1) as cluster:
        assert cluster.store is not None
        name = cluster.store.put(np.arange(10.0).data)
        assert cluster.submit(store_chores.value_size, cluster.store.url, name).result(30) == 80
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", ["nowhere", "http://x", "files:///no/such/folder", "files:x", "memory:x"])
def test_a_wrong_store_is_refused_before_anything_is_opened(url: str, state: Path, tmp_path: Path) -> None:
    for broker in ("local:", f"sqlite:///{tmp_path}/jobs.db", "beanstalkd://127.0.0.1:1"):
        with pytest.raises(ConfigError, match=r"store|folder|after"):
            oche.connect(broker, store=url, run="night")
    assert not state.exists()
    assert not (tmp_path / "jobs.db").exists()


def test_the_store_is_closed_when_connect_fails(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "values"
    folder.mkdir()
    state.touch()  # no journal can be in there
    closed = []
    from oche.stores.files import FileStore

    class Watched(FileStore):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr("oche.stores.files.FileStore", Watched)
    url = f"files://{folder}"
    for broker, error, options in (
        ("local:", ConfigError, {"max_workers": 0}),
        ("local:x", ConfigError, {}),
        ("nowhere:", ConfigError, {}),
        (f"sqlite:///{tmp_path}/no/jobs.db", ConfigError, {}),
        ("beanstalkd://127.0.0.1:1", Disconnected, {}),
        ("local:", JournalError, {"run": "night"}),
    ):
        with pytest.raises(error):
            oche.connect(broker, store=url, **options)
        assert len(closed) == 1, broker
        closed.clear()
    with pytest.raises(Unsupported):
        oche.connect(f"sqlite:///{tmp_path}/jobs.db", store=url, max_workers=2)
    assert os.listdir(folder) == []


def test_the_store_goes_with_a_cluster_that_was_broken(tmp_path: Path) -> None:
    with oche.connect("local:", store=f"files://{tmp_path}", max_workers=1) as cluster:
        assert cluster.store is not None
        cluster.store.put(b"x")
        with pytest.raises(ValueError, match="no"):
            cluster.submit(errands.fail, "no").result(30)
        cluster.shutdown(wait=True, cancel_futures=True)
        cluster.shutdown()
    assert os.listdir(tmp_path) == []


def test_a_store_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    (tmp_path / "values").write_text("")
    with pytest.raises((ConfigError, StoreError), match="there is no folder"):
        oche.connect("local:", store=f"files://{tmp_path}/values")
