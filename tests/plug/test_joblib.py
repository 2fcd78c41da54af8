"""joblib's calls on a cluster: the same answers as on its own backend, and nothing lost, left or hung."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import plug_chores
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed, parallel_config

import errands
import oche
import oche.plug.joblib
from farms import BOUND, Farm, until
from oche.errors import ConfigError, ResultUnsendable, TooLarge, ValueLost, WrongCode
from oche.stores.files import FileStore
from oche.testing.servers import missing


@pytest.fixture(scope="module")
def local() -> Iterator[oche.Cluster]:
    with oche.connect("local:", max_workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm("beanstalkd", tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def distant(farm: Farm) -> Iterator[oche.Cluster]:
    """On a broker that takes 64 KiB, with a folder for what is larger."""
    with farm.connect(store=f"files://{farm.folder}") as cluster:
        until(lambda: cluster.submit(abs, -1).result(30) and cluster.slots == 2, "both slots are seen")
        yield cluster


@pytest.fixture(params=["local", "distant"])
def cluster(request: pytest.FixtureRequest) -> oche.Cluster:
    found: oche.Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < BOUND


def held(folder: Path) -> list[Path]:
    return [path for path in folder.glob("oche-*/*") if path.name != "owner"]


def test_calls_in_their_order(cluster: oche.Cluster) -> None:
    with parallel_config("oche", cluster=cluster):
        assert joblib.effective_n_jobs() == cluster.slots == 2
        assert Parallel()(delayed(errands.square)(i) for i in range(2000)) == [i * i for i in range(2000)]
        assert Parallel()(delayed(lambda x, y: x - y)(i, y=1) for i in range(5)) == [-1, 0, 1, 2, 3]
        with Parallel(n_jobs=-1) as parallel:
            for n in (3, 0, 1):
                assert parallel(delayed(errands.add)(i, b=n) for i in range(n)) == [i + n for i in range(n)]


@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(st.integers(-(2**70), 2**70), max_size=60),
    n_jobs=st.sampled_from([-2, -1, 1, 2, 7]),
    batch_size=st.sampled_from(["auto", 1, 5]),
    pre_dispatch=st.sampled_from(["all", "2*n_jobs", 3]),
    return_as=st.sampled_from(["list", "generator", "generator_unordered"]),
)
def test_every_way_to_ask_gives_the_same(
    local: oche.Cluster, items: list[int], n_jobs: int, batch_size: int | str, pre_dispatch: int | str, return_as: str
) -> None:
    with parallel_config("oche", cluster=local):
        parallel = Parallel(n_jobs, batch_size=batch_size, pre_dispatch=pre_dispatch, return_as=return_as)
        found = list(parallel(delayed(errands.square)(x) for x in items))
    wanted = [x * x for x in items]
    assert sorted(found) == sorted(wanted) if return_as == "generator_unordered" else found == wanted


def test_an_error_is_the_callers_own_and_ends_the_others(cluster: oche.Cluster) -> None:
    began = time.monotonic()
    calls = [delayed(errands.spin)(60.0), delayed(errands.fail)("oops"), *[delayed(errands.spin)(60.0)] * 8]
    with parallel_config("oche", cluster=cluster):
        with pytest.raises(ValueError, match="oops") as caught:
            Parallel(batch_size=1)(calls)
        assert "in fail" in str(caught.value.__cause__)
        assert Parallel()(delayed(errands.square)(i) for i in range(9)) == [i * i for i in range(9)]
    assert time.monotonic() - began < 20


def test_what_cannot_travel_is_said(cluster: oche.Cluster) -> None:
    with parallel_config("oche", cluster=cluster):
        with pytest.raises(TypeError, match="lock"):
            Parallel()(delayed(id)(threading.Lock()) for _ in range(9))
        with pytest.raises(TypeError, match="lock"):
            Parallel()(delayed(threading.Lock)() for _ in range(9))


def test_an_input_that_fails_half_way_is_said(local: oche.Cluster) -> None:
    with parallel_config("oche", cluster=local), pytest.raises(ZeroDivisionError):
        Parallel(batch_size=1)(delayed(errands.square)(1 // (30 - i)) for i in range(60))


def test_a_timeout_ends_the_call(local: oche.Cluster) -> None:
    with parallel_config("oche", cluster=local):
        with pytest.raises(multiprocessing.TimeoutError):
            Parallel(timeout=0.3)(delayed(errands.spin)(60.0) for _ in range(4))
        assert Parallel()(delayed(errands.square)(i) for i in range(3)) == [0, 1, 4]


def test_the_input_may_use_the_cluster_itself(cluster: oche.Cluster) -> None:
    with parallel_config("oche", cluster=cluster):
        calls = (delayed(errands.square)(cluster.submit(errands.square, i).result(30)) for i in range(40))
        assert Parallel(batch_size=1)(calls) == [i**4 for i in range(40)]


def test_a_generator_that_is_dropped_calls_the_rest_off(local: oche.Cluster) -> None:
    with parallel_config("oche", cluster=local):
        results = Parallel(return_as="generator")(delayed(errands.spin)(0.05 if i < 2 else 60.0) for i in range(12))
        assert next(results) == "ran out"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib says that results were not used
            results.close()
        assert local.submit(errands.square, 3).result(20) == 9


def test_calls_inside_of_calls(cluster: oche.Cluster) -> None:
    with parallel_config("oche", cluster=cluster):
        found = Parallel()(delayed(plug_chores.inner_sum)(n) for n in range(12))
    assert found == [sum(i * i for i in range(n)) for n in range(12)]


def test_a_batch_whose_process_dies_is_run_again(cluster: oche.Cluster, tmp_path: Path) -> None:
    with parallel_config("oche", cluster=cluster):
        found = Parallel(batch_size=4)(delayed(plug_chores.die_once)(str(tmp_path / "died"), i) for i in range(40))
    assert found == [i * i for i in range(40)]
    assert (tmp_path / "died").exists()


def test_large_arrays_go_by_reference_and_once(distant: oche.Cluster, farm: Farm) -> None:
    array = np.random.default_rng(5).random(300_000)
    turned = np.asfortranarray(array.reshape(600, 500))
    before = len(held(farm.folder))
    with parallel_config("oche", cluster=distant):
        results = Parallel(batch_size=1, return_as="generator")(
            delayed(plug_chores.total)(each, i) for i in range(10) for each in (array, turned)
        )
        assert next(results) == (0, float(array.sum()), False)
        assert len(held(farm.folder)) - before <= 2
        assert [place for place, _, _ in results] == [i for i in range(10) for _ in (0, 1)][1:]
        until(lambda: len(held(farm.folder)) == before, "nothing of it stays")
        found = Parallel(max_nbytes=None)(delayed(plug_chores.total)(array, i) for i in range(3))
    assert found == [(i, float(array.sum()), True) for i in range(3)]


def test_arrays_inside_of_other_things_go_so_too(local: oche.Cluster) -> None:
    missing(package="scipy")
    import scipy.sparse

    matrix = scipy.sparse.random(3000, 3000, density=0.05, format="csr", random_state=1)
    with parallel_config("oche", cluster=local):
        found = Parallel()(delayed(plug_chores.spare_total)(matrix) for _ in range(6))
        arrays = Parallel()(delayed(plug_chores.filled)(n) for n in (3, 500_000))
    assert found == [float(matrix.sum())] * 6
    assert [(len(each), int(each[-1])) for each in arrays] == [(3, 3), (500_000, 500_000)]
    arrays[1][0] = 1  # the caller's own


def test_a_small_array_is_the_calls_own_and_as_it_was_when_it_was_sent(cluster: oche.Cluster) -> None:
    array = np.zeros(20_000)  # large enough to go by reference, and too small to be shared
    with parallel_config("oche", cluster=cluster), Parallel(batch_size=1) as parallel:
        for i in range(5):
            array[:] = i
            assert parallel([delayed(plug_chores.overwritten)(array)] * 4) == [20_000 * i] * 4
            assert np.all(array == i)


def test_an_array_that_the_store_lost_is_put_again(distant: oche.Cluster, farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    array = np.random.default_rng(6).random(300_000)
    blockers = [distant.submit(errands.wait_for, str(gate)) for _ in range(distant.slots)]
    with parallel_config("oche", cluster=distant):
        results = Parallel(batch_size=1, return_as="generator")(delayed(plug_chores.total)(array, i) for i in range(8))
        for path in held(farm.folder):
            path.unlink()
        gate.touch()
        assert [(place, value) for place, value, _ in results] == [(i, float(array.sum())) for i in range(8)]
    assert [blocker.result(30) for blocker in blockers] == [None, None]


def test_one_that_is_lost_each_time_is_told(distant: oche.Cluster, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    put = FileStore.put

    def lost(store: FileStore, data: bytes) -> str:
        name = put(store, data)
        for path in held(farm.folder):
            path.unlink()
        return name

    monkeypatch.setattr(FileStore, "put", lost)
    with parallel_config("oche", cluster=distant), pytest.raises(ValueLost):
        Parallel()(delayed(plug_chores.total)(np.ones(300_000), i) for i in range(3))


def test_without_a_store_what_is_too_large_is_said(farm: Farm) -> None:
    with farm.connect() as cluster, parallel_config("oche", cluster=cluster):
        with pytest.raises(TooLarge, match="store="):
            Parallel()(delayed(plug_chores.total)(np.ones(300_000), i) for i in range(3))
        with pytest.raises((ResultUnsendable, TooLarge)):
            Parallel()(delayed(plug_chores.filled)(300_000) for i in range(3))


def test_a_worker_with_other_code_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, number in (("here", 1), ("there", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plug_versions.py").write_text(f"def version(x):\n    return {number}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    version = importlib.import_module("plug_versions").version
    own = Farm("beanstalkd", tmp_path)
    try:
        own.worker("--slots", "1", folder=tmp_path / "there", PYTHONPATH=str(tmp_path / "there"))
        with parallel_config("oche", url=own.url), pytest.raises(WrongCode, match="plug_versions:version"):
            Parallel()(delayed(version)(i) for i in range(4))
    finally:
        own.close()
        sys.modules.pop("plug_versions")


def test_a_cluster_of_its_own_ends_after_the_block() -> None:
    def crew() -> set[int]:
        return {each.pid for each in psutil.Process().children(recursive=True)}

    before = crew()
    with parallel_config("oche", url="local:", max_workers=2):
        pids = set(Parallel(batch_size=1)(delayed(errands.pid)(i) for i in range(20)))
        assert pids == set(Parallel(batch_size=1)(delayed(errands.pid)(i) for i in range(20))) | pids
        assert pids <= crew() - before
    until(lambda: not pids & crew(), "its processes are gone")


def test_what_cannot_be_right_is_refused(local: oche.Cluster) -> None:
    with pytest.raises(ConfigError, match="one of both"):
        parallel_config("oche", cluster=local, url="local:")
    with pytest.raises(ConfigError, match="no-such"):
        parallel_config("oche", url="no-such://place")
    with parallel_config("oche", cluster=local):
        with pytest.raises(ConfigError, match="n_jobs is 0"):
            Parallel(n_jobs=0)(delayed(abs)(i) for i in range(3))
        with pytest.raises(ConfigError, match="give that to parallel_config"):
            Parallel(url="local:")(delayed(abs)(i) for i in range(3))


def test_a_grid_search_finds_the_same_as_on_loky(cluster: oche.Cluster) -> None:
    missing(package="sklearn")
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = make_classification(n_samples=1500, n_features=100, random_state=3)
    assert x.nbytes > 1 << 20
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        {"logisticregression__C": [0.01, 1.0], "logisticregression__tol": [1e-3, 1e-5]},
        cv=3, n_jobs=-1, scoring=["accuracy", "neg_log_loss"], refit="accuracy",
    )  # fmt: skip

    def found() -> tuple[dict[str, list[float]], list[float]]:
        search.fit(x, y)
        columns = {name: list(map(str, each)) for name, each in search.cv_results_.items() if "time" not in name}
        return columns, search.predict_proba(x).tolist()

    wanted = found()
    with parallel_config("oche", cluster=cluster):
        assert found() == wanted
