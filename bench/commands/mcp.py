"""`bench mcp`: serves tools for agents over the Model Context Protocol."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from bench.config.flags import Parser
from bench.console.service import Console
from bench.console.target_keys import origin_of
from bench.console.tasks import OWN_FOLDER
from bench.errors import Exit, UsageError
from bench.process.interpreter import stop_signals_handled
from bench.run_files.run_directory import held_alone
from bench.run_files.writable import make_directory

ABOUT = """\
Serves the tools start, watch, result, tasks, stop, compare and gate to an agent, over stdin and stdout (MCP). It shares its
tasks with a console of the same folder.
"""

EXAMPLES = """\
examples, as an agent's configuration names it:
  {"mcpServers": {"trueload": {"command": "trueload", "args": ["mcp", "--runs", "/data/runs"]}}}
  {"mcpServers": {"trueload": {"command": "trueload", "args": ["mcp", "--allow-url", "http://gpu-box:8000"]}}}
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(prog="python -m bench mcp", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument(
        "--runs", metavar="DIR", default="runs", help="the folder of the run directories (default: runs)"
    )
    parser.add_argument(
        "--allow-url",
        metavar="URL",
        action="append",
        default=[],
        help="a server that the agent may load; may be repeated (always allowed: this machine)",
    )
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        action="append",
        default=[],
        help="an environment variable that may be used as a key; may be repeated (always allowed: OPENAI_API_KEY, "
        "TRUELOAD_KEY_*)",
    )
    args = parser.parse_args(list(argv))
    problems = [
        f"--allow-url {url}: write it whole, such as http://host:8000" for url in args.allow_url if not origin_of(url)
    ]
    if find_spec("mcp") is None:
        problems.append("the command mcp needs a package: pip install 'mcp>=2'")
    if problems:
        raise UsageError(problems)
    from bench.agents.operations import Operations
    from bench.agents.server import server_of

    runs = Path(args.runs)
    make_directory("--runs", runs / OWN_FOLDER)
    with held_alone(runs / OWN_FOLDER) as acquired:
        if not acquired:
            raise UsageError(
                f"a console, or another such server, of {runs} already runs: end it, or name another --runs"
            )
        console = Console(runs, key_env=args.key_env)
        # A thread that waits for stdin cannot be ended, and Python would wait for it. Tasks continue, and everything
        # else is on disk.
        with closing(console), stop_signals_handled(signal.SIG_DFL):
            server_of(Operations(console, args.allow_url)).run("stdio")
    return Exit.GOOD
