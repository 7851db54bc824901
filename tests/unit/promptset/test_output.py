"""Output: formats for several readers, a correct manifest, and the same bytes from any number of processes."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from promptset import output_formats
from promptset.cli import main
from promptset.loaders import DataSet, load
from promptset.manifest import _describe, histogram
from promptset.sessions import Session, Turn, load_sessions
from promptset.tokenizer import Tokenizer

SHORT = ["--count", "150", "--input-tokens", "uniform:40..90", "--output-tokens", "uniform:3..9"]
TRACE: list[dict[str, Any]] = [
    {"timestamp": 1000 + 250 * i, "input_length": 530 + i, "output_length": 4, "hash_ids": [0, i]} for i in range(70)
]


def written(folder: Path, *arguments: str, name: str = "set.jsonl") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = folder / name
    assert main([*arguments, "--out", str(out), "--force"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    return rows, json.loads((folder / f"{name}.manifest.json").read_text())


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in TRACE))
    return str(path)


def written_by_one_and_by_two(folder: Path, arguments: list[str]) -> None:
    for processes in "12":
        written(folder, *arguments, "--processes", processes, name=f"by-{processes}")
    contents = [(folder / f"by-{n}").read_bytes() for n in "12"]
    assert contents[0] == contents[1]
    manifests = [json.loads((folder / f"by-{n}.manifest.json").read_text()) | {"file": ""} for n in "12"]
    assert manifests[0] == manifests[1]


@pytest.mark.processes
def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "17")
    gaps = ["--gaps", "gamma:mean=80ms,cv=2", "--seed", "5"]
    written_by_one_and_by_two(tmp_path, [*SHORT, "--prefix", "tokens=9,groups=4", *gaps])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--chat", "--from", "TRACE"],
        [
            "--count",
            "70",
            "--turns",
            "2",
            "--think-time",
            "exp:mean=1s",
            "--input-tokens",
            "30",
            "--output-tokens",
            "5",
        ],
    ],
    ids=["a trace", "sessions"],
)
@pytest.mark.usefixtures("pool_here")
def test_what_other_processes_are_told_makes_the_same_bytes(tmp_path: Path, trace: str, arguments: list[str]) -> None:
    written_by_one_and_by_two(tmp_path, [trace if word == "TRACE" else word for word in arguments])


def test_the_numbers_of_a_seed_stay_what_they_were(tmp_path: Path) -> None:
    lengths = ["--input-tokens", "lognormal:mean=40,cv=0.5,min=9", "--output-tokens", "gamma:mean=20,cv=1"]
    rows, _ = written(tmp_path, "--count", "4", *lengths, "--gaps", "exp:mean=1s")
    # A result states its seed, which must give the same data on every machine and in every version.
    assert [(row["input_tokens"], row["output_tokens"], row["at_s"]) for row in rows] == [
        (20, 9, 0.0),
        (56, 36, 0.660051),
        (29, 16, 0.807084),
        (50, 21, 2.651576),
    ]


@pytest.mark.processes
def test_a_process_that_cannot_go_on_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    chats = tmp_path / "chats.jsonl"
    two = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    chats.write_text("".join(json.dumps({"messages": two}) + "\n" for _ in range(200)))
    out = tmp_path / "out.jsonl"
    assert main(["--from", str(chats), "--format", "vllm", "--processes", "2", "--out", str(out)]) == 2
    assert "row 1 is a chat of several messages" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chats.jsonl", "trace.jsonl"]


def test_a_folder_that_takes_no_file_is_said_with_the_name_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(prefix: str, dir: Path) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}x7d2")

    monkeypatch.setattr("promptset.output.tempfile.mkstemp", refused)
    out = tmp_path / "out.jsonl"
    assert main(["--count", "1", "--input-tokens", "8", "--out", str(out)]) == 2
    assert capsys.readouterr().err.endswith(f"promptset: {out}: Permission denied\n")


def test_the_manifest_tells_what_is_in_the_file(tmp_path: Path, default_tokenizer: Tokenizer) -> None:
    rows, manifest = written(tmp_path, *SHORT, "--prefix", "tokens=32,groups=2", "--seed", "4")
    content = (tmp_path / "set.jsonl").read_bytes()
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert (manifest["bytes"], manifest["rows"], manifest["file"]) == (len(content), 150, "set.jsonl")
    assert manifest["exactness"] == {"checked": 150, "exact": 150}
    lengths = [default_tokenizer.count(row["prompt"]) for row in rows]
    told = manifest["input_tokens"]
    assert (told["n"], told["min"], told["max"]) == (150, min(lengths), max(lengths))
    assert told["mean"] == pytest.approx(sum(lengths) / 150, abs=0.001)
    assert told["p50"] == sorted(lengths)[74]
    # 32 tokens are two blocks. The first prompt of each group finds nothing.
    assert manifest["sharing"]["planned_share"] == pytest.approx(148 * 32 / sum(lengths), abs=1e-5)
    assert manifest["tokenizer"] == {"name": default_tokenizer.name, "fingerprint": default_tokenizer.fingerprint}
    assert (manifest["options"]["seed"], manifest["options"]["prefix"]) == (4, "tokens=32,groups=2")
    assert set(manifest["versions"]) == {"python", "trueload", "tokenizers"}


def test_sessions_are_checked_request_by_request(tmp_path: Path, default_tokenizer: Tokenizer) -> None:
    words = ["--count", "9", "--turns", "3", "--think-time", "2s", "--input-tokens", "40", "--output-tokens", "7"]
    rows, manifest = written(tmp_path, *words)
    assert (manifest["rows"], manifest["requests"]) == (9, 27)
    assert manifest["exactness"] == {"checked": 27, "exact": 27}
    assert (manifest["input_tokens"]["min"], manifest["input_tokens"]["max"]) == (40, 3 * 40 + 2 * 7)
    assert [turn["think_time_s"] for turn in rows[0]["turns"]] == [0.0, 2.0, 2.0]
    assert [session.row() for session in load_sessions(tmp_path / "set.jsonl")] == rows


def test_rows_of_a_file_whose_lengths_are_wrong_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "Hello there", "input_tokens": 77}\n{"prompt": "Hello there"}\n')
    _, manifest = written(tmp_path, "--from", str(source))
    assert manifest["exactness"] == {"checked": 2, "exact": 1}
    assert "rows whose input_tokens differs from this tokenizer's count: 1" in capsys.readouterr().err


def test_gaps_say_when_each_row_is_sent(tmp_path: Path) -> None:
    rows, _ = written(tmp_path, *SHORT, "--gaps", "250ms")
    assert [row["at_s"] for row in rows[:4]] == [0.0, 0.25, 0.5, 0.75]
    assert DataSet(tmp_path / "set.jsonl").timed


def test_a_trace_becomes_rows_that_say_the_same(tmp_path: Path, trace: str) -> None:
    rows, manifest = written(tmp_path, "--from", trace, "--chat")
    assert [row["input_tokens"] for row in rows] == [row["input_length"] for row in TRACE]
    assert [row["at_s"] for row in rows] == [0.25 * i for i in range(70)]
    # 512 tokens and the head of the template: 32 whole blocks, for all prompts except the first.
    total = sum(row["input_length"] for row in TRACE)
    assert manifest["sharing"]["planned_share"] == pytest.approx(69 * 512 / total, abs=1e-5)
    assert manifest["options"]["from"] == "trace.jsonl"


def test_rows_for_vllm_have_what_its_custom_data_sets_read(tmp_path: Path, default_tokenizer: Tokenizer) -> None:
    for more in ([], ["--chat"]):
        rows, _ = written(tmp_path, *SHORT, "--format", "vllm", *more)
        assert all(row.keys() == {"prompt", "output_tokens"} for row in rows)
        assert all(isinstance(row["prompt"], str) and isinstance(row["output_tokens"], int) for row in rows)


@pytest.mark.parametrize("chat", [False, True])
def test_rows_for_the_batch_api_load_again_as_the_same_requests(
    tmp_path: Path, chat: bool, default_tokenizer: Tokenizer
) -> None:
    arguments = [*SHORT, *(["--chat"] if chat else [])]
    plain, _ = written(tmp_path, *arguments)
    rows, manifest = written(tmp_path, *arguments, "--format", "openai-batch", "--model", "m", name="batch.jsonl")
    assert manifest["exactness"] == {"checked": 150, "exact": 150}
    assert [row["custom_id"] for row in rows] == [f"request-{i}" for i in range(150)]
    assert {row["url"] for row in rows} == {"/v1/chat/completions" if chat else "/v1/completions"}
    assert {(row["method"], row["body"]["model"]) for row in rows} == {("POST", "m")}
    again = load(tmp_path / "batch.jsonl", tokenizer=default_tokenizer)
    assert [(s.input_tokens, s.output_tokens) for s in again] == [
        (row["input_tokens"], row["output_tokens"]) for row in plain
    ]


def test_bodies_keep_their_form_and_take_the_model_in_a_batch(tmp_path: Path) -> None:
    source = tmp_path / "bodies.jsonl"
    body = {"model": "old", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0.5}
    source.write_text(json.dumps(body) + "\n")
    assert written(tmp_path, "--from", str(source))[0] == [body]
    (row,), _ = written(tmp_path, "--from", str(source), "--format", "openai-batch", "--model", "new")
    assert row["body"] == {**body, "model": "new"}
    assert written(tmp_path, "--from", str(source), "--format", "vllm")[0] == [{"prompt": "Hi", "output_tokens": 4}]


def test_rows_keep_their_own_target(tmp_path: Path) -> None:
    source = tmp_path / "own.jsonl"
    body = {"messages": [{"role": "user", "content": "Hi"}], "top_p": 1, "endpoint": "chat", "headers": {"A": "b"}}
    prompt = {"prompt": "Hi", "output_tokens": 4, "model": "mine", "priority": 5}
    source.write_text(f"{json.dumps(body)}\n{json.dumps(prompt)}\n")
    first, second = written(tmp_path, "--from", str(source))[0]
    assert (first, second) == (body, {**prompt, "input_tokens": second["input_tokens"]})
    batch, _ = written(tmp_path, "--from", str(source), "--format", "openai-batch", "--model", "new")
    assert [(row["body"]["model"], row["body"].get("priority")) for row in batch] == [("new", None), ("mine", 5)]


def test_a_row_of_the_batch_api_goes_to_the_endpoint_of_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "own.jsonl"
    source.write_text(json.dumps({"prompt": "Hi", "output_tokens": 4, "endpoint": "chat"}) + "\n")
    (row,), _ = written(tmp_path, "--from", str(source), "--format", "openai-batch", "--model", "m")
    assert row["url"] == "/v1/chat/completions"
    assert row["body"] == {
        "model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 4
    }  # fmt: skip
    source.write_text(json.dumps({"prompt": "Hi", "output_tokens": 4, "endpoint": "responses"}) + "\n")
    arguments = ["--from", str(source), "--format", "openai-batch", "--model", "m"]
    assert main([*arguments, "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "row 1 is for the endpoint responses, and openai-batch rows are for chat and" in capsys.readouterr().err


def test_a_message_of_parts_is_no_prompt_for_vllm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "bodies.jsonl"
    content = [{"type": "text", "text": "Hi"}]
    source.write_text(json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 4}) + "\n")
    assert main(["--from", str(source), "--format", "vllm", "--out", str(tmp_path / "out.jsonl")]) == 2
    assert "row 1 is a chat of several messages or parts" in capsys.readouterr().err


def test_bad_rows_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "data.csv"
    source.write_text("question,n\nWhy?,5\nHow?,x\n")
    rows, _ = written(
        tmp_path, "--from", str(source), "--columns", "prompt=question,output_tokens=n", "--bad-rows", "skip"
    )
    assert [row["prompt"] for row in rows] == ["Why?"]
    assert "bad rows skipped: 1; the first: " in capsys.readouterr().err


def test_a_recipe_is_drawn_and_flags_win_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, manifest = written(tmp_path, "--recipe", "chatbot", "--count", "2", "--output-tokens", "5")
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [(256, 5)] * 2
    assert manifest["options"]["recipe"] == "chatbot"
    _, manifest = written(tmp_path, "--recipe", "azure-2023-conversation", "--count", "2")
    assert manifest["options"]["input_tokens"] == "empirical:azure-2023-conversation-input.json"
    assert os.sep not in json.dumps(manifest["options"])
    capsys.readouterr()
    assert main(["--recipe", "list"]) == 0
    assert "chatbot                  Short questions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "parquet"], "--format parquet: write one of rows, vllm, openai-batch"),
        (["--format", "openai-batch"], "--format openai-batch needs --model"),
        (["--from", "nowhere.jsonl"], "--from nowhere.jsonl: there is no such file"),
        (
            ["--from", __file__, "--input-tokens", "5"],
            "--input-tokens cannot be combined with --from: the file brings its own prompts",
        ),
        (["--from", __file__, "--recipe", "chatbot"], "--recipe cannot be combined with --from"),
        (["--columns", "prompt=a"], "--columns needs --from: it names columns of that file"),
        (["--bad-rows", "drop"], "--bad-rows drop: write one of fail, skip"),
        (["--recipe", "chatbott"], "--recipe chatbott: no recipe has this name: did you mean chatbot?"),
        (["--gaps", "5"], "--gaps '5'"),
        (["--think-time", "5s"], "--think-time needs --turns"),
        (["--turns", "3", "--gaps", "5s", "--format", "vllm"], "--gaps cannot be combined with --turns"),
        (["--turns", "3s"], "--turns '3s'"),
        (["--processes", "0"], "--processes 0: write a whole number from 1 to 256"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_more_rows_than_the_file_has_are_refused(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", trace, "--count", "71"]) == 2
    assert "--count 71: " in capsys.readouterr().err
    assert main(["--from", trace, "--count", "2"]) == 0


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([5], ["5..5 1 " + "#" * 40]),
        ([1, 1, 2, 4], ["1..1 2 " + "#" * 40, "2..2 1 " + "#" * 20, "3..3 0", "4..4 1 " + "#" * 20]),
        (list(range(1, 25)), [f"{low:>2}..{low + 1:<2} 2 " + "#" * 40 for low in range(1, 25, 2)]),
    ],
)
def test_a_histogram_counts_every_value_once(values: list[int], bars: list[str]) -> None:
    assert histogram(values) == bars


@pytest.mark.parametrize(
    ("lengths", "quantiles"),
    [([7], (7, 7, 7)), ([9, 1], (1, 9, 9)), (range(200, 0, -1), (100, 190, 198)), (range(1, 102), (51, 96, 100))],
)
def test_a_quantile_is_the_least_length_that_its_share_does_not_exceed(
    lengths: Sequence[int], quantiles: tuple[int, ...]
) -> None:
    described = _describe(lengths)
    assert described is not None
    assert tuple(described[name] for name in ("p50", "p95", "p99")) == quantiles
    assert (described["n"], described["min"], described["max"]) == (len(lengths), min(lengths), max(lengths))
    assert _describe([]) is None


def test_rows_on_stdout_are_whole_when_the_command_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "rows").open("wb", buffering=1_000_000) as file, io.TextIOWrapper(file) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["--count", "2", "--input-tokens", "40"]) == 0
        assert len((tmp_path / "rows").read_bytes().splitlines()) == 2


def test_of_a_session_that_is_too_long_to_count_only_the_longest_request_is_counted(
    default_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [Turn(content="Hi", answer="Hello", input_tokens=tokens) for tokens in (None, 40, 60, 50)]
    session = Session(id="s", turns=tuple(turns))

    def counted(most: int) -> list[bool]:
        monkeypatch.setattr(output_formats, "_MOST_COUNTED", most)
        (line,) = output_formats.lines_of_sessions([session], default_tokenizer)
        assert [facts.stated_tokens for facts in line.requests] == [None, 40, 60, 50]
        return [facts.counted_tokens is not None for facts in line.requests]

    assert counted(150) == [True] * 4
    assert counted(149) == [False, False, True, False]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_while_rows_are_written_and_then_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    assert main(["--count", "30", "--input-tokens", "9", "--out", str(tmp_path / "rows.jsonl")]) == 0
    assert "prompts" in shown.getvalue()
    assert "30/30" in shown.getvalue()
    # The last thing shown before the closing line is the command to erase the line of the bar.
    assert re.search(r"\x1b\[2K[^\n]*\n?[^\n]*30 prompts?[^\n]*\n$", shown.getvalue()), shown.getvalue()[-300:]
    assert capsys.readouterr().out == ""


def test_rows_go_into_a_pipe_as_they_are(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        assert main(["--count", "2", "--input-tokens", "9", "--out", f"/dev/fd/{writer}"]) == 0
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        assert [json.loads(line)["input_tokens"] for line in file] == [9, 9]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--text", "jsn"], "--text jsn: no text of the kind 'jsn': did you mean json?"),
        (["--text", "jsn", "--repeated-text", "0"], "--text jsn: no text of the kind 'jsn': did you mean json?"),
        (["--text", "jsn", "--repeated-text", "0.5"], "--text jsn --repeated-text 0.5: no text of the kind 'jsn': did"),
    ],
)
def test_a_wrong_kind_is_named_with_the_flags_that_were_given(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--count", "1", *flags]) == 2
    assert f" {said}" in capsys.readouterr().err
