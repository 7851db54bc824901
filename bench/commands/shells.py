"""Completions as programs of a shell, made of the shapes of the commands. A shell is one function and a line in SHELLS."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from bench.commands.help_text import Flag, Shape, Value

PROGRAM, MOCK = "trueload", "trueload-mock"
_OWN = ("--help", "--version")

_BASH = """\
# Completion of trueload for bash, made by `trueload completion bash`.
_trueload_complete() {{  # words, and what else may stand there: -f files, -d folders
    local IFS=$' \\t\\n' kind="$2"
    COMPREPLY=($(compgen -W "$1" -- "$current"))
    if [ -n "$kind" ]; then
        IFS=$'\\n'
        COMPREPLY+=($(compgen "$kind" -- "$current"))
        compopt -o filenames 2>/dev/null
    fi
}}
_trueload() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="${{COMP_WORDS[1]}}"
    COMPREPLY=()
    # A word such as --mode=rate comes in three.
    if [ "$current" = "=" ]; then current=""; elif [ "$before" = "=" ]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    if [ "${{COMP_WORDS[0]##*/}}" = {mock} ]; then command={mock}
    elif [ "$COMP_CWORD" -eq 1 ]; then _trueload_complete "{commands}"; return; fi
    case "$command" in
{cases}
    esac
}}
complete -F _trueload {program} {mock}
"""


def bash(commands: Mapping[str, Shape], mock: Shape) -> str:
    """For bash 4 and newer."""
    cases = []
    for name, shape in {**commands, MOCK: mock}.items():
        lines = [f'    {name}) case "$before" in']
        for flag in shape.flags:
            if flag.value is not None:
                lines.append(f"        {flag.name}) {_bash_value([flag.value])} ;;")
        free = [value for value in shape.values if value.choices or value.files or value.folders]
        flags = " ".join(flag.name for flag in shape.flags)
        lines.append(f'        *) case "$current" in -*) _trueload_complete "{flags}" ;;')
        lines.append(f"           *) {_bash_value(free)} ;; esac ;;")
        cases += [*lines, "        esac ;;"]
    words = " ".join([*commands, *_OWN])
    return _BASH.format(program=PROGRAM, mock=MOCK, commands=words, cases="\n".join(cases))


def _bash_value(values: list[Value]) -> str:
    words = " ".join(word for value in values for word in value.choices)
    kind = "-f" if any(value.files for value in values) else "-d" if any(value.folders for value in values) else ""
    return f'_trueload_complete "{words}" {kind}'.rstrip() if words or kind else ":"


_ZSH = """\
#compdef {program} {mock}
# Completion of trueload for zsh, made by `trueload completion zsh`.
_trueload() {{
    local -a commands=(
{commands}
    )
    local command={mock}
    if [[ ${{service:-${{words[1]:t}}}} != {mock} ]]; then
        if (( CURRENT == 2 )); then _describe -t commands command commands; return; fi
        command=$words[2]
        shift words
        (( CURRENT-- ))
    fi
    case $command in
{cases}
    esac
}}
if [[ $funcstack[1] == _trueload ]]; then _trueload "$@"; else compdef _trueload {program} {mock}; fi
"""


def zsh(commands: Mapping[str, Shape], mock: Shape) -> str:
    """For zsh 5, as a file `_trueload` on $fpath or as a line of .zshrc."""
    listed = [f"        {shlex.quote(f'{name}:{shape.summary}')}" for name, shape in commands.items()]
    cases = []
    for name, shape in {**commands, MOCK: mock}.items():
        specs = [_zsh_flag(flag) for flag in shape.flags]
        for number, value in enumerate(shape.values, 1):
            place = "*" if number == len(shape.values) else str(number)
            specs.append(f"{place}:{_zsh_word(value.name)}:{_zsh_value(value)}")
        cases.append(f"    {name}) _arguments -s " + " \\\n        ".join(map(shlex.quote, specs)) + " ;;")
    return _ZSH.format(program=PROGRAM, mock=MOCK, commands="\n".join(listed), cases="\n".join(cases))


def _zsh_flag(flag: Flag) -> str:
    if flag.value is None:
        return f"*{flag.name}[{_zsh_word(flag.help)}]"
    return f"*{flag.name}=[{_zsh_word(flag.help)}]:{_zsh_word(flag.value.name)}:{_zsh_value(flag.value)}"


def _zsh_word(text: str) -> str:
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    return text


def _zsh_value(value: Value) -> str:
    if value.choices:
        return f"({' '.join(value.choices)})"
    return "_files" if value.files else "_files -/" if value.folders else " "


def fish(commands: Mapping[str, Shape], mock: Shape) -> str:
    """For fish 3 and newer."""
    lines = ["# Completion of trueload for fish, made by `trueload completion fish`.", f"complete -c {PROGRAM} -f"]
    for name, shape in commands.items():
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -a {name} -d {_fish_word(shape.summary)}")
    for name, shape in commands.items():
        start = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{start} {_fish_flag(flag)}" for flag in shape.flags]
        lines += [f"{start} {words}" for value in shape.values if (words := _fish_value(value))]
    lines.append(f"complete -c {MOCK} -f")
    lines += [f"complete -c {MOCK} {_fish_flag(flag)}" for flag in mock.flags]
    return "\n".join(lines) + "\n"


def _fish_flag(flag: Flag) -> str:
    needs = "" if flag.value is None else " -r" if flag.value.files else " -x"
    value = "" if flag.value is None else f"{needs} {_fish_value(flag.value)}".rstrip()
    return f"-l {flag.name.removeprefix('--')}{value} -d {_fish_word(flag.help)}"


def _fish_value(value: Value) -> str:
    words = f"-a {_fish_word(' '.join(value.choices))}" if value.choices else ""
    if value.files:
        return f"{words} -F".strip()
    return f"-a '(__fish_complete_directories)' {words}".strip() if value.folders else words


def _fish_word(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[Mapping[str, Shape], Shape], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
"""By the name of the shell."""
