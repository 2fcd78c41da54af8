"""What memory processes have, as the kernel counts it: what is shared once, and what each has for itself. Linux."""

from __future__ import annotations

import re
from dataclasses import dataclass

from oche.errors import Unsupported

#: The first line of a mapping in /proc/PID/smaps: addresses, rights, offset, device, inode, name.
_MAPPING = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S+ [0-9a-f]+ \S+ (\d+) *(.*)")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of one process, in bytes."""

    pid: int
    pss: int  #: proportional: what n processes share counts an nth
    uss: int  #: unique: what goes when this process ends
    blocks: dict[int, int]  #: inode of each shared block of oche's -> what this process has of it in sight (RSS)
    blocks_pss: int  #: the part of `pss` that is such blocks


def memory_of(pid: int) -> Memory:
    """Raises `Unsupported` where the kernel does not tell."""
    total, unique, proportional = 0, 0, 0
    blocks: dict[int, int] = {}
    inode = None
    try:
        with open(f"/proc/{pid}/smaps", "rb") as smaps:
            for line in smaps:
                if mapping := _MAPPING.match(line):
                    inode = int(mapping[1]) if mapping[2].startswith(b"/memfd:oche-") else None
                    continue
                name, _, rest = line.partition(b":")
                if name not in (b"Rss", b"Pss", b"Private_Clean", b"Private_Dirty"):
                    continue
                amount = int(rest.split()[0]) * 1024
                if name == b"Pss":
                    total += amount
                    proportional += amount if inode is not None else 0
                elif name == b"Rss":
                    if inode is not None:
                        blocks[inode] = blocks.get(inode, 0) + amount
                else:
                    unique += amount
    except OSError as error:
        raise Unsupported(f"memory of process {pid} cannot be seen: {error.strerror}; it takes Linux") from error
    return Memory(pid=pid, pss=total, uss=unique, blocks=blocks, blocks_pss=proportional)
