"""The classic: throw darts on every worker and estimate pi. `python examples/darts.py [URL]`."""

import sys

import oche


def main() -> None:
    """Prints the estimate; the count is the same on every engine, with any number of workers."""
    url = sys.argv[1] if len(sys.argv) > 1 else "local:"
    with oche.connect(url) as cluster:
        print(oche.pi(100_000_000, seed=1, cluster=cluster))


if __name__ == "__main__":
    main()
