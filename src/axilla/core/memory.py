"""How much memory a process may still take: of the machine, and of the container it is in."""

from __future__ import annotations

import os
from pathlib import Path

_UNKNOWN = 4 * 2**30
"""Where the system says nothing: as if a small machine had so much left."""
_FILES = {
    # cgroup version 2, and 1: limit, use, and what of the use is files that can be let go.
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(*, root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping and without a container's limit being reached.

    Parameters
    ----------
    root
        Where `proc` and `sys` are.
    """
    return max(0, min([_of_machine(root), *_of_containers(root)]))


def _of_machine(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    try:  # no Linux: all that is there, of which others hold some
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN


def _of_containers(root: Path) -> list[int]:
    """What is left under each limit that holds for this process."""
    left = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, own = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        top = root / "sys/fs/cgroup" / controllers
        folder = top / own.strip("/")
        # A container may see the path of its host, which it does not have: then its own is on top.
        folders = [folder, *folder.parents] if folder.is_dir() else [top]
        for place in folders:
            if place.is_relative_to(top):
                left += _left_in(place, version=1 if controllers else 2)
    return left


def _left_in(folder: Path, *, version: int) -> list[int]:
    limit_file, use_file, reclaimable = _FILES[version]
    limit, use = (_lines(folder / name)[:1] for name in (limit_file, use_file))
    if not limit or not use or not limit[0].strip().isdigit():  # `max` is no limit
        return []
    words = (line.split() for line in _lines(folder / "memory.stat"))
    files = sum(int(pair[1]) for pair in words if len(pair) == 2 and pair[0] == reclaimable)
    return [int(limit[0]) - int(use[0]) + files]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
