"""A program of ours that runs next to a command: `python -m bench.process.beside MODULE DESCRIPTOR`, started by
`child_process.py`.

The process is set up before the program's imports, like that of a command (`interpreter.py`).
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from bench.process.interpreter import leave, set_up, woken_by_parents_end

if __name__ == "__main__":
    set_up()
    woken_by_parents_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent process decides when to stop.
    leave(import_module(sys.argv[1]).main(int(sys.argv[2])))
