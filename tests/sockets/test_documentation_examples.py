"""Every example of the documentation runs, and prints what its page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UsageError
from mockserver.errors import MockError
from tests.support.documentation import ROOT, blocks_of, patient, workplace
from tests.support.examples import BLOCKS, PAGES, run_block
from tests.support.mock_process import mock_process

SHORT = ("docs/tutorial.md", "docs/mock.md")
"""Pages whose examples .ci/run runs too."""


@pytest.fixture(scope="module")
def mock_url() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
        yield mock.url


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page in SHORT else pytest.mark.long) for page in PAGES if page != "README.md"],
)
def test_every_example_of_a_page_runs(page: str, tmp_path: Path, mock_url: str) -> None:
    # README.md is typed by tests/sockets/test_first_run.py.
    (tmp_path / "requests.jsonl").write_bytes((ROOT / "tests" / "golden" / "requests.jsonl").read_bytes())
    (tmp_path / "vllm.json").write_bytes((ROOT / "tests/unit/bench/imports/results/vllm-closed.json").read_bytes())
    with workplace(tmp_path, mock_url) as place:
        for at in range(len(BLOCKS[page])):
            run_block(place, BLOCKS[page], at)


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
    """What is said of a page that holds a broken example."""
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
