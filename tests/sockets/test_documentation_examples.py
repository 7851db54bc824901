"""Every example of the documentation runs, and prints what its page shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UsageError
from mockserver.errors import MockError
from tests.support.documentation import ROOT, Workplace, blocks_of, patient, workplace
from tests.support.examples import BLOCKS, PAGES, run_block
from tests.support.mock_process import mock_process

LIGHT = ("README.md", "docs/tutorial.md", "docs/mock.md")
"""Pages whose examples .ci/run also runs, with fewer requests."""


@pytest.fixture(scope="module")
def mock_url() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
        yield mock.url


def lighter(text: str, place: Workplace) -> str:
    """Commands with hundreds of requests get a tenth of them: their output has the same rows."""
    if "$ scripts/demo\n" in text:
        text = text.replace("$ scripts/demo\n", f"$ {command_of_demo(place)}\n")
    return re.sub(r"(--requests \d\d+)0\b", r"\1", text)


def command_of_demo(place: Workplace) -> str:
    """The command that scripts/demo runs in its environment. (Run directly, it is a process copy instead of a new
    interpreter.)"""
    program = place.folder / ".venv" / "bin" / "python"
    real = program.read_text()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    ran = place.run("scripts/demo")
    program.write_text(real)
    assert ran.returncode == 0, ran.stderr
    return f"python {shlex.join(ran.stdout.splitlines())}"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("page", "whole"),
    [
        *((page, False) for page in LIGHT),
        # tests/sockets/test_first_run.py runs README.md unchanged.
        *(pytest.param(page, True, marks=pytest.mark.long) for page in PAGES if page != "README.md"),
    ],
)
def test_every_example_of_a_page_runs(page: str, whole: bool, tmp_path: Path, mock_url: str) -> None:
    (tmp_path / "requests.jsonl").write_bytes((ROOT / "tests" / "golden" / "requests.jsonl").read_bytes())
    (tmp_path / "vllm.json").write_bytes((ROOT / "tests/unit/bench/imports/results/vllm-closed.json").read_bytes())
    with workplace(tmp_path, mock_url) as place:
        blocks = [block if whole else replace(block, text=lighter(block.text, place)) for block in BLOCKS[page]]
        for at in range(len(blocks)):
            run_block(place, blocks, at)


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ('--slo "ttft:p90<500ms" --slo "error_rate<1%"', '--slo "ttft:p90<500000ms" --slo "error_rate<1%"'),
        ('--slo "e2el:p99<2s" --slo "inputs_per_s>10"', '--slo "e2el:p99<2000s" --slo "inputs_per_s>0.001"'),
        ('--slo "ttft:p50<1ms" || echo "not good enough"', '--slo "ttft:p50<1ms" || echo "not good enough"'),
    ],
)
def test_objectives_are_made_such_that_no_busy_machine_fails_them(words: str, typed: str) -> None:
    assert patient(words) == typed


def broken(text: str, tmp_path: Path, mock_url: str) -> str:
    """The message about a page with a broken example."""
    blocks = blocks_of("page.md", text)
    with workplace(tmp_path, mock_url) as place:
        for at in range(len(blocks)):
            try:
                run_block(place, blocks, at)
            except (AssertionError, UsageError, MockError, json.JSONDecodeError) as e:
                return str(e)
    return "nothing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```console\n$ python -m bench run --url http://127.0.0.1:8000 --concurency 2\n```\n", "did you mean"),
        ("```console\n$ false | cat\n```\n", "exits 1"),
        ("```console\n$ python -m bench --version\nTTFT p50   12.3\n```\n", "no longer prints ['TTFT p50']"),
        ("```console\n$ python -m mockserver --fault nonsense\n```\n", "before it was ready"),
        ("```console\nTTFT\n```\n", "a command begins with"),
        ("```python\nimport bench.no_such_module\n```\n", "no_such_module"),
        ("```yaml\nconcurency: 3\n```\n", "did you mean"),
        ("```yaml\nttft: 5\n```\n```console\n$ python -m mockserver --config mock.yaml\n```\n", "ttft"),
        ("```json\n{\n```\n", "Expecting"),
        ("```console\n$ true\n", "has no end"),
    ],
)
def test_a_broken_example_is_caught(text: str, said: str, tmp_path: Path, mock_url: str) -> None:
    if "no end" in said:
        with pytest.raises(AssertionError, match=said):
            blocks_of("page.md", text)
        return
    assert said in broken(text, tmp_path, mock_url)
