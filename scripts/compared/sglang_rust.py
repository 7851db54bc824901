"""SGLang's Rust client: an extension module inside SGLang's wheel, independent of the rest."""

from __future__ import annotations

import sys
from pathlib import Path

from compared import sglang
from compared.tool import Load, Place, Tool, keep_of_wheel

_INSIDE = "sglang/srt/rust_extensions"
_MAIN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import _bench; _bench.run_argv(['sglang-bench', *sys.argv[1:]])"
)


def _install(folder: Path) -> None:
    keep_of_wheel(folder, f"sglang=={sglang.VERSION}", f"{_INSIDE}/_bench.*")


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [sys.executable, "-c", _MAIN, place.tool / _INSIDE, *sglang.flags(load, url, place)]


TOOL = Tool(
    title="sglang bench (Rust)",
    version=sglang.VERSION,
    compat="sglang",
    install=_install,
    command=_command,
    read=sglang.read,
    note="its client alone, from the wheel",
)
