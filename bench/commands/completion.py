"""`bench completion`: completions for a shell."""

from __future__ import annotations

from collections.abc import Sequence

from bench.commands import help_text
from bench.commands.shells import SHELLS
from bench.config.flags import Parser
from bench.errors import Exit

EXAMPLES = """\
examples:
  trueload completion bash > ~/.local/share/bash-completion/completions/trueload
  trueload completion zsh > "${fpath[1]}/_trueload"
  trueload completion fish > ~/.config/fish/completions/trueload.fish
  source <(trueload completion bash)        # for this shell alone; the same for zsh
"""


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns its exit status; raises BenchError."""
    parser = Parser(
        prog="python -m bench completion",
        description="Prints a program for a shell that completes the commands, flags and values of trueload and "
        "trueload-mock. It is made of what they say with --help.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", choices=tuple(SHELLS))
    given = parser.parse_args(list(argv))
    print(SHELLS[given.shell](help_text.commands(), help_text.mock()), end="")
    return Exit.GOOD
