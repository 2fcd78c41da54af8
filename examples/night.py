"""A long run that may be killed and started again: `python examples/night.py [NAME]`.

What is finished is kept in a journal; started again with the same name it goes on where it was stopped.
"""

import sys

import oche


def collatz(start: int) -> int:
    """Steps from `start` down to 1."""
    steps, n = 0, start
    while n != 1:
        n = 3 * n + 1 if n % 2 else n // 2
        steps += 1
    return steps


def main() -> None:
    """Prints the number below 100,000 that takes the most steps."""
    name = sys.argv[1] if len(sys.argv) > 1 else "collatz"
    with oche.connect(run=name) as cluster:
        steps = list(cluster.map(collatz, range(1, 100_000), progress=True))
    best = max(range(len(steps)), key=steps.__getitem__)
    print(f"{best + 1} takes {steps[best]} steps")


if __name__ == "__main__":
    main()
