"""The most frequent words of text files: `python examples/wordcount.py [FILES...]`, or of Python's own library."""

import os
import sys
from pathlib import Path

import oche
from oche.algorithms.words import word_count


def main() -> None:
    """Prints ten words. Workers read the files themselves; a large file is shared by many of them."""
    files = sys.argv[1:] or sorted(Path(os.__file__).parent.glob("*.py"))
    with oche.connect() as cluster:
        counts = word_count(files, cluster=cluster)
    for word, count in counts.most_common(10):
        print(f"{count:8,} {word}")
    print(f"{counts.total():,} words in {len(files)} files")


if __name__ == "__main__":
    main()
