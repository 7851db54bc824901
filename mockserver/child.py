"""`python -m mockserver.child [--scratch DIR] FLAGS`: the mock as a child process. It exits when its stdin is closed.

So it never outlives its parent, however the parent ends. `--scratch` names a directory of the parent that holds the
ledger: a parent that was killed cannot remove it, so the mock does.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

from mockserver.cli import main
from mockserver.workers.processes import woken_by_parents_end

_TRIES = 100


class Parent:
    """Watches the parent process. `gone` is true once the parent has ended."""

    def __init__(self, scratch: str | None) -> None:
        self.gone = False
        self._scratch = scratch
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        # Read the bare descriptor: at exit the interpreter waits for a lock that a reader of sys.stdin holds.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self.gone = True
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # It does not serve yet, so nothing handles the signal.
            self.clean_up()
            os._exit(0)
        os.kill(os.getpid(), signal.SIGTERM)

    def clean_up(self) -> None:
        """Remove what the parent left behind, if the parent has ended."""
        # If nobody reads this process's output, it can end before the thread has run.
        gone = self.gone or bool(select.select([sys.stdin], [], [], 0)[0])
        for _ in range(_TRIES):
            if self._scratch is None or not gone or not os.path.lexists(self._scratch):
                break
            # The main thread may write its ledger there meanwhile. Then the directory is not empty and stays.
            shutil.rmtree(self._scratch, ignore_errors=True)


def run(words: list[str]) -> int:
    """Run the mock until the parent ends or stops it."""
    scratch = None
    if words[:1] == ["--scratch"]:
        scratch, words = words[1], words[2:]
        # The parent has tested this directory. tempfile tests it by creating a file, which would stay if we ended right
        # then.
        tempfile.tempdir = str(Path(scratch).parent)
    woken_by_parents_end()
    parent = Parent(scratch)
    try:
        return main(words)
    finally:
        parent.clean_up()


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
