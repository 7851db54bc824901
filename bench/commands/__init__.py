"""The commands of `python -m bench`: one file each, with its summary, its flags and its exit status.

Each file has a SUMMARY for `--help` and `main(argv)`, which returns the exit status. A new command is one file and one line
in COMMANDS. `options` holds the flags that several commands share, `output` what they print.
"""

COMMANDS: dict[str, str] = {
    "run": "bench.commands.run",
    "calibrate": "bench.commands.calibrate",
    "search": "bench.commands.search",
    "sweep": "bench.commands.sweep",
    "load": "bench.commands.load",
    "limits": "bench.commands.limits",
    "report": "bench.commands.report",
    "compare": "bench.commands.compare",
    "gate": "bench.commands.gate",
    "fit": "bench.commands.fit",
    "dataset": "bench.commands.dataset",
    "console": "bench.commands.console",
    "tasks": "bench.commands.tasks",
    "completion": "bench.commands.completion",
}
"""The module of each command. A module is imported when its command is chosen, or for the list of `--help`."""
