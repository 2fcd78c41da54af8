"""The house: imports go one way, files stay small, the public names are exactly these, importing costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oche

SOURCE = Path(oche.__file__).parent
ROOMS = {  # what a room may import from, besides itself, errors and plugins
    "wire": set[str](),
    "queues": {"wire"},
    "stores": set[str](),
    "worker": {"wire", "queues", "stores"},
    "cluster": {"wire", "queues", "stores", "sharing"},
    "engines": {"servers", "wire", "queues", "stores", "worker", "cluster", "sharing"},
    "kernels": set[str](),
    "sharing": {"stores", "kernels"},
    "algorithms": {"wire", "stores", "worker", "cluster", "kernels", "sharing"},
    "servers": set[str](),
    "compare": {"servers", "wire", "stores", "kernels", "sharing", "worker", "cluster", "engines", "algorithms"},
    "streams": {"wire", "queues", "stores", "worker", "cluster"},
    "watch": {"wire", "queues", "cluster"},
    "plug": {"wire", "stores", "cluster", "engines"},
    "ops": {"servers", "wire", "queues", "stores", "worker", "cluster", "engines", "watch"},
    "testing": {"servers", "wire", "queues", "stores", "worker", "cluster", "engines", "sharing", "streams"},
    "cli": {
        "wire", "queues", "stores", "worker", "cluster", "engines", "kernels", "sharing", "algorithms", "compare",
        "watch", "ops", "streams", "servers",
    },
}  # fmt: skip
#: The files that may import each of these.
ADAPTED: dict[str, str | tuple[str, ...]] = {
    "greenstalk": "queues/beanstalkd/",
    "numba": "kernels/",
    "click": "cli/",
    "cloudpickle": "wire/pickles.py",
    "threadpoolctl": "algorithms/blas.py",
    "filelock": "sharing/locks.py",
    "matplotlib": "compare/plot.py",
    "redis": ("queues/redis/", "stores/redis.py", "sharing/flag_redis.py"),
    "pymemcache": "stores/memcached.py",
    "pika": "queues/rabbitmq/",
    "nsq": ("queues/nsq/", "streams/nsq"),
    "joblib": "plug/joblib.py",
    "celery": "engines/celery",
    "kombu": "engines/celery",
    "distributed": "engines/dask.py",
    "dask": "engines/dask.py",
    "ipyparallel": "engines/ipyparallel.py",
    "mpi4py": "engines/mpi",
    "ppft": "engines/parallel_python",
    "pp": "engines/parallel_python",
    "IPython": ("cluster/notebook.py", "engines/ipyparallel.py"),
}


def files() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_one_way() -> None:
    wrong = []
    for name, path in files():
        room = name.partition("/")[0]
        if room not in ROOMS:
            continue
        for target in imports(path):
            parts = target.split(".")
            if parts[0] != "oche":
                continue
            there = parts[1] if len(parts) > 1 else ""
            if there not in ROOMS[room] | {room, "errors", "plugins"}:
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_every_room_is_on_the_plan() -> None:
    rooms = {path.parent.name for _, path in files() if path.parent.parent == SOURCE}
    assert rooms == set(ROOMS)


def test_drivers_do_not_import_each_other() -> None:
    stores = {"shared_memory", "files", "redis", "memcached"}
    drivers = {"queues": {path.name for path in (SOURCE / "queues").iterdir() if path.is_dir()}, "stores": stores}
    for name, path in files():
        room, _, rest = name.partition("/")
        mine = rest.partition("/")[0].removesuffix(".py")
        if mine in drivers.get(room, ()):
            others = {f"oche.{room}.{driver}." for driver in drivers[room] - {mine}}
            assert not [target for target in imports(path) if target.startswith(tuple(others))]


def test_a_library_is_imported_in_one_place() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, path in files()
        for target in imports(path)
        if (home := ADAPTED.get(target.partition(".")[0])) and not name.startswith(home)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_classes_are_small() -> None:
    wrong = []
    for name, path in files():
        lines = path.read_text().count("\n")
        limit = 300 if name.startswith("queues/") else 500
        if lines > limit:
            wrong.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not name.startswith(("queues/", "testing/")):
                public = [f for f in node.body if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")]
                if len(public) >= 15:
                    wrong.append(f"{name}: class {node.name} has {len(public)} public methods")
    assert not wrong, "\n".join(wrong)


def test_public_names_are_exactly_these() -> None:
    assert oche.__all__ == [
        "Cluster", "Context", "Counter", "FileLock", "Future", "Integral", "Lock", "PiResult", "Pool", "SharedArray",
        "argsort", "connect", "count_primes", "current", "errors", "fill_random", "find_factor", "histogram",
        "integrate", "is_prime", "list_rank", "list_rank_jumping", "map_reduce", "matmul", "matmul_cells", "matvec",
        "over", "pi", "points", "prime_factors", "primes", "reduce", "scan", "smallest_factor", "sort", "stop_byte",
        "stopping", "streams", "task", "trees", "word_count",
    ]  # fmt: skip
    for name in oche.__all__:
        assert getattr(oche, name) is not None


def test_importing_oche_brings_nothing_along() -> None:
    code = "import sys; old = set(sys.modules); import oche; print({m.split('.')[0] for m in set(sys.modules) - old})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    brought = set(ast.literal_eval(out)) - set(sys.stdlib_module_names)
    assert brought == {"oche"}


def test_a_worker_parent_brings_no_heavy_library() -> None:
    heavy = ("numpy", "numba", "click", "rich", "cloudpickle")
    code = f"import sys, oche.worker.node, oche.queues.opening; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_random_numbers_of_the_program_are_left_alone() -> None:
    """A program that seeded the `random` module gets the numbers it expects, whatever our threads do meanwhile."""
    drawn = [
        f"{name}: random.{node.attr}"
        for name, path in files()
        if "random" in imports(path)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
        if node.attr != "Random"
    ]
    imported = [f"{name}: {target}" for name, path in files() for target in imports(path) if target[:7] == "random."]
    assert not drawn + imported


def test_every_public_thing_has_a_docstring() -> None:
    missing = []
    for name, path in files():
        tree = ast.parse(path.read_text())
        if name != "__init__.py" and not ast.get_docstring(tree):
            missing.append(name)
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                overload = any("overload" in ast.dump(d) for d in node.decorator_list)
                if not ast.get_docstring(node) and not overload:
                    missing.append(f"{name}: {node.name}")
    assert not missing, "\n".join(missing)
