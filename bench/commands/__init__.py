"""The commands of `python -m bench`: one file each, with its flags and its exit status.

Each file has `main(argv)`, which returns the exit status. To add a command, add one file and one line to COMMANDS.
`options` holds the flags that several commands share, `output` prints their results.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command's module, imported only when the command is used, and its description in `--help`."""

    module: str
    summary: str


COMMANDS: dict[str, Command] = {
    "run": Command("bench.commands.run", "run one load test, and write its report"),
    "calibrate": Command("bench.commands.calibrate", "measure the error of every number, against a mock server"),
    "search": Command("bench.commands.search", "find the highest load that keeps the objectives"),
    "sweep": Command("bench.commands.sweep", "measure several loads, and draw curves over them"),
    "quality": Command("bench.commands.quality", "find out whether load changes the answers"),
    "tune": Command("bench.commands.tune", "find the flags that make a server best"),
    "set-load": Command("bench.commands.set_load", "change the users or the rate of a running load test"),
    "limits": Command("bench.commands.limits", "measure how much load this machine can send"),
    "report": Command("bench.commands.report", "make a report again, or a page of several sweeps"),
    "import": Command("bench.commands.import_result", "read the result of another load tester into a run directory"),
    "export": Command("bench.commands.export", "write a run in the form of another tool"),
    "compare": Command("bench.commands.compare", "compare two or more runs, or groups of runs"),
    "gate": Command("bench.commands.gate", "pass or fail runs by objectives and by a baseline"),
    "fit": Command("bench.commands.fit", "fit the mock to a server, from runs at a few loads"),
    "plan": Command("bench.commands.plan", "find how many replicas of a fitted server hold a day of traffic"),
    "dataset": Command("bench.commands.dataset", "make a data set of prompts (the same as python -m promptset)"),
    "console": Command("bench.commands.console", "start, watch and compare load tests in a browser"),
    "tasks": Command("bench.commands.tasks", "list, create, change, start or stop the tasks of a console"),
    "mcp": Command("bench.commands.mcp", "let an agent start, watch and judge load tests (MCP)"),
    "completion": Command("bench.commands.completion", "print the completions for a shell: bash, zsh, fish or tcsh"),
}
