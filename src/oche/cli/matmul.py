"""`oche matmul`: matrices from files or of a size, multiplied on a cluster, and the product checked."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oche.cli.npy import check_writable, load_npy, save_npy
from oche.cli.options import debug_option, json_option, positive, whole
from oche.cli.output import print_json
from oche.cli.session import cluster_at
from oche.errors import ConfigError

if TYPE_CHECKING:
    from oche.stores.arrays import Array


@click.command()
@click.argument("a", required=False, type=click.Path(path_type=Path), metavar="[A.npy")
@click.argument("b", required=False, type=click.Path(path_type=Path), metavar="B.npy]")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="C.npy", help="Where the product goes.")
@click.option("--size", type=positive, metavar="N", help="Random N x N matrices of float64 instead of files.")
@click.option("--seed", type=whole, default=0, metavar="SEED", show_default=True, help="Which random matrices.")
@click.option("--on", "url", metavar="URL", help="Where to compute (OCHE_URL, else local:).")
@click.option("--workers", type=positive, metavar="N", help="Processes, with local: only (all cores).")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@debug_option
def matmul(
    a: Path | None, b: Path | None, output: Path | None, size: int | None, seed: int,
    url: str | None, workers: int | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Multiply the matrices of two .npy files, or random ones of a size.

    The seconds are from the call to the product, with all copying. The product is then checked by Freivalds'
    test, which takes little time; the exit code is 1 if it is wrong.
    """
    from oche.algorithms.linalg import freivalds, matrices
    from oche.algorithms.linalg import matmul as multiply

    left, right = matrices(*_given(a, b, size, seed))
    if output is not None:
        check_writable(output)
    with cluster_at(url, None, workers) as cluster:
        began = time.perf_counter()
        result = multiply(left, right, cluster=cluster, progress=not quiet and sys.stderr.isatty())
        seconds = time.perf_counter() - began
    share = freivalds(left, right, result, seed=seed)
    if output is not None:
        save_npy(output, result)
    (m, k), p = left.shape, right.shape[1]
    gflops = (8 if result.dtype.kind == "c" else 2) * m * k * p / seconds / 1e9
    if as_json:
        found = {"shape": [m, k, p], "dtype": str(result.dtype), "seconds": seconds, "gflops": gflops}
        print_json({**found, "seed": seed, "rounding_used": share})
    else:
        click.secho(f"{m:,} x {k:,} times {k:,} x {p:,}, {result.dtype}", bold=True)
        click.echo(f"{seconds:.2f} s, {gflops:,.1f} Gflop/s")
        click.echo(verdict(share))
    click.get_current_context().exit(int(share > 1))


def verdict(share: float) -> str:
    """What Freivalds' test says, in words."""
    if math.isnan(share):
        return "not checked: the product is not finite"
    if share > 1:
        return "WRONG: Freivalds' test finds that the product is not that of these matrices; please report it"
    return "checked by Freivalds' test: " + (f"{share:.1%} of the rounding that is allowed" if share else "exact")


def _given(a: Path | None, b: Path | None, size: int | None, seed: int) -> tuple[Array, Array]:
    if size is None and a is not None and b is not None:
        return load_npy(a), load_npy(b)
    if size is None or a is not None:
        raise ConfigError("matmul takes two files, A.npy B.npy, or --size N for random matrices")
    if seed < 0:
        raise ConfigError(f"--seed {seed} is below 0; take a whole number from 0 on")
    import numpy as np

    random = np.random.default_rng(seed)
    return random.random((size, size)), random.random((size, size))
