"""A program of ours beside a command: `python -m bench.process.beside MODULE DESCRIPTOR`, started by `child_process.py`.

The process is set up before what the program needs is imported, as that of a command is (`interpreter.py`).
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from bench.process.interpreter import leave, set_up, woken_by_parents_end

if __name__ == "__main__":
    set_up()
    woken_by_parents_end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one says what to do.
    leave(import_module(sys.argv[1]).main(int(sys.argv[2])))
