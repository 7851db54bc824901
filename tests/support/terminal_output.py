"""Everything written to a terminal, which the kernel delivers in parts."""

from __future__ import annotations

import os


def written(leader: int) -> str:
    """Everything that the other end wrote before it was closed; closes this end."""
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # EIO: the other end is closed, and everything is read.
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return b"".join(parts).decode()
