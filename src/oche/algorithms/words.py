"""The words of text files, counted where the files are seen; a large file is shared by many slots."""

from __future__ import annotations

import operator
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor

from oche.algorithms.map_reduce import map_reduce
from oche.algorithms.team import spans
from oche.errors import ConfigError

#: Bytes of a file in one piece: 0.3 s of counting.
PIECE = 2**24
#: Bytes that are read at a time, so that memory does not grow with the piece.
CHUNK = 2**20
#: What a word is: letters, digits and underscores of any script.
WORD = re.compile(r"\w+")
#: Makes a space of every ASCII character that is in no word; bytes of other characters stay.
_SPACED = bytes(byte if byte >= 0x80 or WORD.match(chr(byte)) else 0x20 for byte in range(256))


def word_count(
    files: Iterable[str | os.PathLike[str]], *, cluster: Executor | None = None, progress: bool = False
) -> Counter[str]:
    r"""How often each word stands in these files of UTF-8 text; a word is what `\w+` matches, in its own case.

    What is no UTF-8 counts as U+FFFD, which is in no word. Workers read the files themselves, in pieces of 16 MiB; a
    word across a border is counted once. A worker needs memory for a chunk of 1 MiB, for the longest stretch of text
    without ASCII punctuation or space, and for the distinct words. Words of equal count are in their own order.

    Raises `ConfigError` for a file that cannot be read, here or by a worker, and what the cluster raises.
    """
    if isinstance(files, (str, bytes, os.PathLike)):
        raise ConfigError(f"files = {files!r} is one name; give a list of names, [{files!r}]")
    pieces = [(path, lo, hi) for path in map(os.path.abspath, files) for lo, hi in spans(_size(path), PIECE)]
    return Counter(map_reduce(words_in, total, pieces, combine=operator.add, cluster=cluster, progress=progress))


def words_in(piece: tuple[str, int, int]) -> Iterator[tuple[str, int]]:
    """Words and counts, the same word more than once maybe, of all stretches that begin in this piece of a file."""
    counts: Counter[bytes] = Counter()
    for part in _parts(*piece):
        counts.update(part.split())
    # Only what is distinct is decoded. Its ASCII separators are gone, so it stands as it did in its context.
    for stretch, count in counts.items():
        text = stretch.decode("utf-8", "replace")
        if text.isascii():
            yield text, count
        else:  # there may be punctuation, and other spaces, in it
            for word in WORD.findall(text):
                yield word, count


def total(_word: str, counts: list[int]) -> int:
    """The sum of the counts of a word."""
    return sum(counts)


def _parts(path: str, lo: int, hi: int) -> Iterator[bytes]:
    """Parts of a file, with spaces for separators: whole stretches, all that begin at lo .. hi - 1.

    A stretch belongs to the piece that its first byte is in: who has lo .. hi - 1 goes on from the first separator at
    lo - 1 or later to the first one at hi - 1 or later, which is where the next piece goes on.
    """
    try:
        with open(path, "rb") as file:
            at = max(lo - 1, 0)
            file.seek(at)
            begun = lo == 0
            held: list[bytes] = []  # the beginning of a stretch
            while data := file.read(CHUNK).translate(_SPACED):
                end, cut = at + len(data), 0
                if not begun:
                    cut = data.find(b" ")
                    begun = cut >= 0
                if begun and end >= hi:
                    last = data.find(b" ", max(hi - 1 - at, cut))
                    if last >= 0:
                        yield b"".join([*held, data[cut:last]])
                        return
                    held.append(data[cut:])
                elif begun:
                    last = data.rfind(b" ", cut)
                    if last >= 0:
                        yield b"".join([*held, data[cut:last]])
                        held, cut = [], last
                    held.append(data[cut:])
                elif end >= hi:
                    return  # all of it is inside of a stretch that began before
                at = end
            yield b"".join(held)
    except OSError as error:
        raise _unreadable(path, error) from error


def _size(path: str) -> int:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # before it is opened: who opens a pipe waits
            raise ConfigError(f"{path} is no regular file and cannot be read in pieces; give files")
        with open(path, "rb"):
            return status.st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read {path} on {os.uname().nodename}: {error.strerror}; give files that this user may read, here and "
        "on every worker"
    )
