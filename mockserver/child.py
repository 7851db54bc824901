"""`python -m mockserver.child`: the mock as a child process. It ends when its stdin is closed.

So it never outlives its parent, however the parent ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from mockserver.cli import main


def _end_with_stdin() -> None:
    # Read the bare descriptor: at exit the interpreter waits for a lock that a reader of sys.stdin holds.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    raise SystemExit(main())
