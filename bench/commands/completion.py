"""`bench completion`: prints completions for a shell."""

from __future__ import annotations

from collections.abc import Sequence

from bench.commands.parsers import whole
from bench.config.flags import Parser
from bench.errors import Exit
from promptset.completion import SHELLS, completion

EXAMPLES = """\
examples:
  trueload completion bash > ~/.local/share/bash-completion/completions/trueload
  trueload completion zsh > "${fpath[1]}/_trueload"
  trueload completion fish > ~/.config/fish/completions/trueload.fish
  eval "$(trueload completion bash)"        # for this shell alone; the same for zsh
  trueload-mock --print-completion bash > ~/.local/share/bash-completion/completions/trueload-mock
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(
        prog="python -m bench completion",
        description="Prints a script with which a shell completes the commands, flags and values of trueload.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS)
    args = parser.parse_args(list(argv))
    print(completion(whole(), args.shell), end="")
    return Exit.GOOD
