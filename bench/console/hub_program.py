"""Downloads a file of a data set: `python -m bench.console.hub_program HUB ENDPOINT NAME FILE FOLDER` (`hub_loads.py`).

Prints the path of the file, or the reason why there is none. Exits when its standard input closes, that is, when the
console ends.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from bench.console.hubs import HUBS, first_line


def _end_with_console() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main(source: str, endpoint: str, name: str, file: str, folder: str) -> int:
    """Returns the exit status."""
    threading.Thread(target=_end_with_console, daemon=True).start()
    try:
        print(HUBS[source].download(endpoint, name, file, Path(folder)))
    except Exception as e:  # The packages raise any type of exception.
        print(first_line(e))
        return 1
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # The thread that waits for the console would keep the interpreter alive.
