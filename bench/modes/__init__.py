"""The load modes, one file each. To add a mode, write a subclass of `interface.Mode` in one file and add one line to
MODES."""

from bench.modes.concurrency import Concurrency
from bench.modes.interface import Mode
from bench.modes.rate import Rate
from bench.modes.sessions import Sessions
from bench.modes.throughput import Throughput
from bench.modes.trace import Trace

MODES: dict[str, type[Mode]] = {
    mode.name: mode
    for mode in (
        Concurrency,
        Rate,
        Throughput,
        Trace,
        Sessions,
    )
}
"""The modes, keyed by the value of `--mode`."""

DEFAULT_MODE = Concurrency.name
"""The mode if no setting implies another."""
