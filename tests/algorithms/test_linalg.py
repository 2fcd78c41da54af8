"""Products of matrices: numpy's answers, in the same bits whoever computes them and however they were cut."""

from __future__ import annotations

import math
import random
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oche
from oche.algorithms import linalg
from oche.algorithms.blas import one_blas_thread
from oche.algorithms.cells import matmul_cells
from oche.algorithms.linalg import freivalds, matmul, matvec
from oche.errors import ConfigError, StoreFull

DTYPES = ["?", "i1", "i4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


@pytest.fixture
def small_blocks(monkeypatch):
    """As many blocks as a large product has."""
    monkeypatch.setattr(linalg, "AREAS", (48,))


def random_matrix(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.2
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    parts = rng.normal(size=(2, *shape))
    return (parts[0] + 1j * parts[1] if dtype.kind == "c" else parts[0]).astype(dtype)


def bits(array):
    return array.dtype, array.shape, array.tobytes()


def check(a, b, got):
    """As numpy has it: exactly, or within twice the bound that both keep."""
    expected = a @ b
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert got.flags.writeable
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    wide = complex if got.dtype.kind == "c" else float
    eps = np.finfo(got.dtype).eps
    bound = 4 * a.shape[1] * eps * (np.abs(a.astype(wide)) @ np.abs(b.astype(wide)))
    assert (np.abs(got.astype(wide) - expected.astype(wide)) <= bound).all()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_executor_multiplies_the_same(cluster, dtype):
    rng = np.random.default_rng(7)
    a, b = random_matrix(rng, (29, 31), dtype), random_matrix(rng, (31, 23), dtype)
    got = matmul(a, b, cluster=cluster)
    check(a, b, got)
    assert bits(got) == bits(matmul(a, b))
    vector = matvec(a, b[:, 0], cluster=cluster)
    check(a, b[:, 0], vector)
    assert bits(vector) == bits(matvec(a, b[:, 0]))


def test_large_blocks_have_the_same_bits_everywhere(cluster):
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(700, 5000)), rng.normal(size=(5000, 600))
    got = matmul(a, b, cluster=cluster)
    check(a, b, got)
    assert bits(got) == bits(matmul(a, b))
    assert freivalds(a, b, got) <= 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 0, 4), (0, 3, 4), (3, 4, 0), (0, 0, 0), (1, 50, 1), (50, 1, 50)])
def test_edges_of_shape(cluster, shape):
    m, k, p = shape
    a, b = np.full((m, k), 2.0), np.full((k, p), 3)
    check(a, b, matmul(a, b, cluster=cluster))
    check(a, np.full(k, 3), matvec(a, np.full(k, 3), cluster=cluster))


@pytest.mark.usefixtures("small_blocks")
def test_layout_does_not_matter(cluster):
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(40, 20)), rng.normal(size=(20, 30))
    expected = bits(matmul(a, b, cluster=cluster))
    for left in (np.asfortranarray(a), a.repeat(2, axis=1)[:, ::2], a.astype(">f8"), a[::-1][::-1]):
        assert bits(matmul(left, np.asfortranarray(b), cluster=cluster)) == expected
    assert bits(matmul(a.tolist(), b.tolist(), cluster=cluster)) == expected
    check(a, a.T, matmul(a, a.T, cluster=cluster))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_shapes_and_dtypes(data):
    m, k, p = (data.draw(st.integers(0, 40)) for _ in range(3))
    one, two = (data.draw(st.sampled_from(DTYPES)) for _ in range(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = random_matrix(rng, (m, k), one), random_matrix(rng, (k, p), two)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linalg, "AREAS", (data.draw(st.integers(1, 300)),))
        check(a, b, matmul(a, b))
        if p:
            check(a, b[:, 0], matvec(a, b[:, 0]))


@given(*[st.one_of(st.integers(1, 5000), st.integers(1, 10**7))] * 3)
def test_blocks_are_neither_large_nor_needlessly_small(m, k, p):
    height, width = linalg._sides(m, k, p)
    count = math.ceil(m / height) * math.ceil(p / width)
    assert 1 <= height <= m
    assert 1 <= width <= p
    assert height * width <= linalg.AREAS[0]
    # Enough of them, unless smaller ones would not be worth a job.
    smallest = min((area for area in linalg.AREAS if area * k >= linalg.WORK), default=linalg.AREAS[0])
    assert count >= linalg.BLOCKS or height * width <= smallest


def test_4096_is_cut_into_16_squares():
    assert linalg._sides(4096, 4096, 4096) == (1024, 1024)
    assert linalg._sides(1024, 1024, 1024) == (256, 256)
    assert linalg._sides(100, 100, 100) == (100, 100)
    assert linalg._sides(10**5, 1000, 10) == (6553, 10)  # narrow results have high blocks
    assert linalg._sides(10, 1000, 10**5) == (10, 6553)


@pytest.mark.parametrize("multiply", [matmul, matmul_cells])
@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1.0, 2.0], [[1.0], [2.0]], r"a has 1 dimensions, \(2,\), and must be a matrix \(matvec takes"),
        ([[1.0, 2.0]], [1.0, 2.0], r"b has 1 dimensions"),
        (np.ones((2, 2, 2)), np.ones((2, 2)), r"a has 3 dimensions"),
        (3, [[1]], "a has 0 dimensions"),
        (np.ones((2, 3)), np.ones((2, 3)), r"\(2, 3\) times \(2, 3\) is no product: a has 3 columns .* 2 rows"),
        (np.ones((2, 3), object), np.ones((3, 2)), r"a holds object, .*convert it"),
        (np.ones((2, 3)), [["x"], ["y"], ["z"]], "b holds <U1"),
        (np.ones((2, 3), "m8[s]"), np.ones((3, 2)), "a holds timedelta64"),
    ],
)
def test_what_is_no_product_is_refused_before_anything_is_sent(multiply, a, b, reason):
    with Counting() as pool, pytest.raises(ConfigError, match=reason):
        multiply(a, b, cluster=pool)
    assert pool.calls == 0


@pytest.mark.parametrize(
    ("a", "x", "reason"),
    [
        (np.ones((2, 3)), np.ones((3, 1)), r"x has 2 dimensions, \(3, 1\), and must be a vector \(matmul takes"),
        (np.ones(3), np.ones(3), "a has 1 dimensions"),
        (np.ones((2, 3)), np.ones(2), "is no product"),
        (np.ones((2, 3)), np.ones(3, object), "x holds object"),
    ],
)
def test_what_is_no_vector_is_refused(a, x, reason):
    with pytest.raises(ConfigError, match=reason):
        matvec(a, x)


class Counting(ThreadPoolExecutor):
    """Counts what is submitted."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls = 0

    def submit(self, fn, /, *args, **kwargs) -> Future:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


@pytest.mark.usefixtures("small_blocks")
def test_a_job_for_each_block_and_for_each_cell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oche.algorithms.linalg.SMALL", 0)
    a = np.arange(12 * 12).reshape(12, 12)
    with Counting() as pool:
        matmul(a, a, cluster=pool)
    assert pool.calls == 4  # of 6 x 8, at the most
    with Counting() as pool:
        matmul_cells(a, a, cluster=pool)
    assert pool.calls == 144


@pytest.mark.parametrize("dtype", DTYPES)
def test_cells_make_the_product(cluster, dtype):
    rng = np.random.default_rng(10)
    a, b = random_matrix(rng, (7, 5), dtype), random_matrix(rng, (5, 6), dtype)
    check(a, b, matmul_cells(a, b, cluster=cluster))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 0, 4), (0, 3, 4), (3, 4, 0)])
def test_cells_of_nothing(shape):
    m, k, p = shape
    a, b = np.full((m, k), 2.0), np.full((k, p), 3)
    check(a, b, matmul_cells(a, b))


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_infinities_and_nan_are_where_numpy_has_them(cluster):
    a = np.array([[1.0, math.inf], [math.nan, 1.0], [2.0, 3.0]])
    b = np.array([[1.0, 2.0], [3.0, 4.0]])
    for multiply in (matmul, matmul_cells):
        np.testing.assert_array_equal(multiply(a, b, cluster=cluster), a @ b)


def test_a_product_that_fits_nowhere_is_refused(cluster):
    if isinstance(cluster, oche.Cluster):
        long = np.broadcast_to(np.ones(1), (2**20, 1))  # a view of one number, whose product has 8 TB
        with pytest.raises(StoreFull, match=r"8,796,093,022,208 bytes"):
            matmul(long, long.T, cluster=cluster)
        assert matmul([[2]], [[3]], cluster=cluster) == [[6]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_freivalds_passes_what_is_right_and_finds_one_wrong_item(dtype):
    rng = np.random.default_rng(11)
    a, b = random_matrix(rng, (40, 50), dtype), random_matrix(rng, (50, 30), dtype)
    if dtype == "?":
        b &= rng.random(b.shape) < 0.1
    c = matmul(a, b)
    assert 0.0 <= freivalds(a, b, c) <= 1
    wrong = c.copy()
    if dtype == "?":  # one item may be hidden by another of its row, 1 + 1 being 1
        wrong[17] = ~c[17]
    elif c.dtype.kind in "iu":
        wrong[17, 5] ^= 1
    else:
        wrong[17, 5] += 200
    assert freivalds(a, b, wrong) > 1


def test_freivalds_says_nothing_of_what_is_not_finite_and_allows_no_rounding_of_zeros():
    a = np.zeros((2, 2))
    assert freivalds(a, a, a) == 0.0
    assert freivalds(a, a, a + 1e-300) > 1
    small = np.full((20, 20), 1e-155)  # whose products are no normal numbers
    assert freivalds(small, small, matmul(small, small)) <= 1
    assert math.isnan(freivalds(a, a, a + math.nan))
    assert freivalds(a[:0], a, a[:0]) == 0.0
    assert freivalds(a.astype(int), a.astype(int), np.ones((2, 2), int)) == math.inf


def test_blas_has_one_thread_inside_and_its_own_number_after_all_have_left():
    from threadpoolctl import threadpool_info

    def threads():
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    before = threads()
    assert before, "numpy without a BLAS that threadpoolctl knows"
    with one_blas_thread():
        with one_blas_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert threads() == before

    def work(seed):
        chance = random.Random(seed)
        for _ in range(50):
            with one_blas_thread():
                if chance.random() < 0.2 and set(threads()) != {1}:
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert threads() == before
