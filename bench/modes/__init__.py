"""The modes of a load: one file each. A new mode is one file with a class of `interface.Mode` and one line in MODES."""

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
"""By the name that `--mode` takes."""

DEFAULT_MODE = Concurrency.name
"""Where no setting implies another."""
