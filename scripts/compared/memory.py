"""The memory of a command, with all processes that it started."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; shared pages count for each. 0 if there is no such process.

    The kernel's peak of a child (`ru_maxrss`) would not do: it starts at the memory of this process when it created the
    child.
    """
    own = Path("/proc") / str(pid)
    try:
        found = int((own / "statm").read_text().split()[1]) * _PAGE
        children = [child for task in (own / "task").iterdir() for child in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0  # It has ended meanwhile.
    return found + sum(resident_bytes(int(child)) for child in children)
