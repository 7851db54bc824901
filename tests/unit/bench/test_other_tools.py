"""Flags of other load testers are answered with ours. docs/comparison.md has the same list."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench import cli
from bench.commands import options, run
from bench.commands.parsers import parsers as command_parsers
from bench.config import other_tools
from bench.config.other_tools import Row
from bench.errors import UsageError

ROOT = Path(__file__).parents[3]
ROWS = [row for rows in other_tools.table().tools.values() for row in rows]
URL = "http://127.0.0.1:8000"


parsers = cache(command_parsers)


def words_of(row: Row) -> tuple[str, list[str]]:
    """The command of the suggestion, and its words."""
    words = shlex.split(row.ours)
    return ("run", words) if words[0].startswith("-") else (words[0], words[1:])


def test_what_to_write_is_taken_by_our_parsers() -> None:
    for row in ROWS:
        if row.ours:
            take(row)


def take(row: Row) -> None:
    command, words = words_of(row)
    parser = parsers()[command]
    shown = {o for action in parser._actions if action.help != argparse.SUPPRESS for o in action.option_strings}
    assert {word for word in words if word.startswith("--")} <= shown, f"the suggested command lacks this flag: {row}"
    given, unknown = parser.parse_known_args(words)
    assert unknown == [], row
    if command != "run":
        return
    # Files need not exist, except the file of a trace. Nothing else may be wrong.
    flags = {"url": URL, **{k: v for k, v in vars(given).items() if v is not None}}
    for name in ("dataset", "config", "mix", "columns", "repeats"):
        flags.pop(name, None)
    if flags.get("mode") == "trace":
        flags = {"url": URL}
    if flags.get("mode") == "rate" and "rate" not in flags and "ramp" not in flags:
        flags["rate"] = "1"
    options.resolve_flags(flags, [])


def test_each_spelling_is_answered_with_what_to_write() -> None:
    known = [o for action in parsers()["run"]._actions for o in action.option_strings]
    for row in ROWS:
        begun = shlex.split(row.ours)[0] if row.ours else "leave it out"
        for flag, wanted in row.spellings():
            value = {"N": "7", "URL": URL}.get(wanted or "", wanted)
            answer = other_tools.about_flag(flag, value, known)
            assert answer is not None, (flag, value)
            assert begun in answer.sentence, (flag, value, answer)


VALUES = [
    "input_tokens=1,024",
    "output_tokens=2,048",
    "concurrency=1,024",
    "requests=10,000",
    "arrivals=gamma:cv=2",
    "rate=inf",
    "rate=1,2",
    "rate=10rps",
    "concurrency=1,2",
    "concurrency=1-64",
    "endpoint=http://h/v1",
    "endpoint=/v1/chat/completions",
    "endpoint=/v1/completions",
    "endpoint=anthropic",
    "endpoint=/v1/responses",
    "endpoint=/v1/embeddings",
    "endpoint=rankings",
    "endpoint=/x",
    "dataset=random",
    "dataset=sharegpt",
    "dataset=prefix_repetition",
    "dataset=openai/gsm8k",
    "input_tokens=100,200",
    "output_tokens=1-2",
    "input_tokens=D(100,100)",
    "input_tokens=N(480,240)/(300,150)",
    "input_tokens=4k",
    "output_tokens=4k",
    "requests=1k",
    "slo=ttft:200",
    "slo=p99:ttft<1s",
    "slo=ttft_p99<1s",
    "slo=latency<2s",
    "slo=time_to_first_token<1s",
    "slo=inter_token_latency<1s",
    "slo=errors<1%",
    "slo=throughput>100",
    "header=a=b",
    "mode=sweep",
    "mode=auto",
    "mode=closed",
    "mode=synchronous",
    "mode=poisson",
    "mode=burst",
    "mode=replay",
    "mode=ramp",
    "mode=stages",
    "mode=multi-turn",
    "extra_body=temperature=0",
    "duration=1h30m",
    "duration=5seconds",
    "duration=5minutes",
    "warmup=10%",
    "arrivals=exponential",
    "arrivals=uniform",
    "arrivals=bursty",
    "ramp=linear",
    "transport=aiohttp",
    "images=2",
    "images=64x64",
]


def test_each_value_of_another_tool_is_refused_and_answered() -> None:
    used: list[other_tools.Value] = []
    rows = other_tools.table().values
    for text in VALUES:
        key, _, value = text.partition("=")
        with pytest.raises(UsageError) as raised:
            options.resolve_flags({"url": URL, key: [value] if key in ("slo", "header") else value}, [])
        answer = other_tools.about_value(key, value)
        assert answer is not None, text
        assert any(answer[1] in problem for problem in raised.value.problems), (text, raised.value.problems)
        used += [row for row in rows if row.key == key and re.fullmatch(row.pattern, value, re.IGNORECASE)][:1]
    assert [row for row in rows if row not in used] == [], "no value of VALUES reaches this row"


def said_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The error about a wrong command line."""
    assert cli.main(shlex.split(words)) == 2
    return " ".join(capsys.readouterr().err.split())


MISTAKES = [
    ("run --url http://h --isl 512", "--isl is not a flag here: write --input-tokens 512."),
    ("run --url http://h --osl 64", "write --output-tokens 64."),
    ("run --url http://h --streaming", "--streaming is not a flag here: leave it out. Every run streams;"),
    ("run --url http://h --profile sweep", "write python -m bench sweep --loads rate="),
    ("run --url http://h --profile", "Trueload does not start the server's profiler"),
    ("run --url http://h --percentile-metrics ttft", "leave it out. Every report has TTFT"),
    ("run --url http://h --hf-token hf_secret", "Set HF_TOKEN in the environment"),
    ("run --url http://h --backend openai-chat", "write --endpoint chat"),
    ("run --url http://h --vus 10", "write --concurrency 10"),
    ("run --url http://h --save-result", "leave it out. Every run writes summary.json"),
    (
        "run --url http://h --rate inf",
        "--rate inf: to send everything at once, write --mode throughput --requests 1000",
    ),
    ("run --url http://h --request-rate inf", "write --mode throughput"),
    ("run --url http://h --request-rate 5", "write --rate 5."),
    ("run --url http://h --dataset random", "simulated prompts are the default: leave --dataset out"),
    ("run --url http://h --dataset sharegpt", "Trueload downloads no data: name the file"),
    ("run --url http://h --endpoint /v1/completions", "write --endpoint completions"),
    ("run --url http://h --endpoint /v1/chat/completions", "write --endpoint chat"),
    (
        "run --url http://h --input-tokens 100,200",
        "write uniform:100..200; for prompts of the first length and replies",
    ),
    ("run --url http://h -c 4", "-c is not a flag here: write --concurrency 4"),
    ("run --url http://h -n 4", "-n is not a flag here: write --requests 4"),
    ("run --url http://h -u 4", "-u is not a flag here: write --concurrency 4"),
    ("run -u http://h:80", "-u is not a flag here: write --url http://h:80"),
    ("run --url http://h --max-concurrency 4", "--max-concurrency caps a --rate: for 4 users"),
    ("run --url http://h --num-prompts 4", "write --requests 4"),
    ("run --url http://h --num_prompts 4", "--num_prompts is not a flag here: write --requests 4"),
    ("run --url http://h --random-input-len 99", "write --input-tokens 99."),
    ("run --target http://x:1", "write --url http://x:1"),
    ("run --url http://h --endpoint-type embeddings", "write --endpoint embeddings"),
    ("run --url http://h --users 3", "write --concurrency 3"),
    ("run --port 8000", "write --url http://127.0.0.1:8000. Host and port are one address."),
    ("run --url http://h --spawn-rate 3", "write --ramp-up 30s. It is the time until all users have started"),
    ("run --host http://x:1", "--host is not a flag here: write --url http://x:1"),
    ("run --url http://h --goodput ttft:200 tpot:50", 'write --slo "ttft:p99<200ms" --slo "goodput>=95%"'),
    ("run --url http://h --model-name m", "write --model m"),
    ("run --url http://h --warmup-requests 5", "write --warmup 5"),
    ("run --url http://h --concurrency 1,2,4", "write python -m bench sweep --loads concurrency=1,2,4"),
    ("run --url http://h --slo ttft:200", 'name the percentile and the unit: --slo "ttft:p99<200ms"'),
    ("run --url http://h --header a=secret", 'put a colon between name and value: --header "a: VALUE"'),
    ("run --url http://h --mode closed", "write --mode concurrency"),
    ("run --url http://h --mode ramp", "write --mode rate --ramp 1..50:10m"),
    ("run --url http://h --slo 'p99<500ms'", "p99 of which number? Write for example ttft:p99<500ms"),
    ("run --url http://h:99999", "the port must be a number from 0 to 65535"),
    ("run --url http://h:1,http://h:2", "; for several servers repeat --url"),
    ("tasks", "name an action, for example ls"),
    ("completion", "name a shell: bash, zsh, fish or tcsh"),
    ("run --url http://h --duration 1h30m", "write one number with one unit"),
    ("search --url http://h --slo ttft:p99<1s --num-prompts 5", "write --requests 5 with the command run"),
    ("serve --model m", "'serve' is not a command: write python -m bench run --url"),
    ("mock", "the mock is a program of its own: python -m mockserver"),
    ("--url http://h", "a command comes first"),
    ("run --url http://h --parallel 1 8 16", "write python -m bench sweep --loads concurrency=1,8,16"),
    ("run --URL http://h", "--URL is not a flag: did you mean --url?"),
    ("sweep --url http://h --concurrency 1,2", "write --loads concurrency=1,2"),
    ("locust -f x.py", "'locust' is not a command: write python -m bench run"),
    (
        "run --url http://h --request-rate 5 --max-concurrency 4",
        "error: --request-rate is not a flag here: write --rate 5.",
    ),
    ("run --url http://h --request-rate 5 --burstiness 2", "error: --request-rate is not a flag here: write --rate 5."),
    ("run -q 5 http://h:2", "2 problems - -q is not a flag here: write --rate 5."),
    ("run -q 5 http://h:1", "did you mean --url http://h:1?"),
    ("run -c400 http://h:1/v1", "-c is not a flag here: write --concurrency 400"),
    ("run -t12 --url http://h", "or leave it out (in place of other tools')"),
    (
        "run --url http://h -d 30s",
        "write --duration 30s (in place of k6's); or write --endpoint http --body TEXT (in place of oha's)",
    ),
    ("run --url http://h --top-p 0.9", """write --extra-body '{"top_p": 0.9}'"""),
    ("run --url http://h --n-choices 3", """write --extra-body '{"n": 3}'"""),
    ("run --url http://h --dataset-path x.json", "write --dataset x.json"),
    ("run --url http://h --hf-split train", "write --dataset rows.jsonl"),
    ("run --url http://h --served-model-name y", "write --model y."),
    ("run --url http://h --output-file x.jsonl", "write --out runs/mine."),
    ("run --output-details http://h", "write --out runs/mine."),
    ("run --output-file http://u:secret@h", "write --out 'http://***@h'"),
    ("run --host localhost", "write --url http://localhost:8000"),
    ("run -u localhost:9", "write --url http://localhost:9"),
    ("run --port 9", "write --url http://127.0.0.1:9."),
    ("run --url 9000", "for example http://127.0.0.1:9000"),
    ("run --url htp://h:9", "for example http://h:9"),
    ("run --url http:/h:9", "for example http://h:9"),
    ("run --url file:///etc/x", "for example http://127.0.0.1:8000"),
    ("run --url http://h —concurrency 5", "'—concurrency' begins with a long dash: write --concurrency"),
    ("run --url http://h concurrency=5", "did you mean --concurrency 5?"),
    ("run --url http://h --rate 1e30", "more than a machine sends (a processor sends about 2,000)"),
    ("run --url http://h --mode rate --concurrency 5", "has no --concurrency: leave it out"),
    ("run --url http://h --dataset chatbot --input-tokens 5", "and --dataset has its own: leave --input-tokens out"),
    ("run --url http://h --slo ttft:99<1s --slo tffft<1s", "did you mean 'p99'? - --slo: \"tffft<1s\": no metric"),
    ("run --url http://h --slo tffft<1s --slo ttft:200", "2 problems - --slo ttft:200: name the percentile"),
    (
        "run --url http://h --slo 'ttft<1s, tpot<9ms'",
        'a flag takes one objective: write --slo "ttft<1s" --slo "tpot<9ms"',
    ),
    ("search --url http://h --slo ttft<1s --budget 5s", "give between 10 s and 30 days (given: 5s)"),
    ("set-load runs/mine --rate 5", "write the load after the directory: set-load runs/mine 20"),
    ("report nothere", "nothere is not a run directory: it does not exist"),
    (
        "report nothere nor-there",
        "2 problems - nothere does not exist: name the directory of a result - nor-there does not exist: name the",
    ),
    (
        "run --config nothere",
        "--config nothere: No such file or directory: name a YAML file of settings, or the run.yaml",
    ),
    ("tune nothere", "nothere: cannot be read: No such file or directory: name the YAML file of a race"),
    ("dataset --n 5", "unknown argument --n: did you mean --count?"),
    ("dataset --recipe nope", "--recipe nope: no recipe has this name"),
    ("compare a --margn 3", "--margn is not a flag: did you mean --margin?"),
]


@pytest.mark.parametrize(("words", "answer"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_answered_with_what_to_write(words: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_of(words, capsys)
    assert answer in said
    assert "secret" not in said


def test_a_path_that_holds_something_else_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}")
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").touch()
    for words, answer in (
        (f"report {file}", "is not a run directory: it is a file: name its directory"),
        (f"report {sweep} {tmp_path}", f"or the directories of sweeps (without sweep.json: {tmp_path})"),
        (f"plan --search {tmp_path} --rates x.csv", "it holds no search: it has no search.json"),
    ):
        assert answer in said_of(words, capsys)


def test_a_key_of_another_tool_in_a_file_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("url: http://h\nnum-prompts: 5\n")
    assert "num_prompts is not known: write --requests 5" in said_of(f"run --config {path}", capsys)


def test_a_file_with_another_name_for_the_prompt_says_which_flag_names_it(tmp_path: Path) -> None:
    from promptset.errors import SpecError
    from promptset.loaders import load

    path = tmp_path / "rows.csv"
    path.write_text("question,answer\na,b\n")
    with pytest.raises(SpecError, match="if question is the prompt, add --columns prompt=question"):
        load(path)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"concurrency": "200", "requests": "10"}, "note: 200 users with --requests 10: only 10 users send"),
        ({"concurrency": "2", "requests": "1"}, "only 1 user sends, one request each"),
        ({"concurrency": "10", "requests": "10"}, ""),
        ({"requests": "4"}, "note: 10 users with --requests 4: only 4 users send"),  # 10 is the default.
        ({"concurrency": "200"}, ""),
    ],
)
def test_more_users_than_requests_are_noted(
    given: dict[str, str], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options.note_idle_users(options.resolve_flags({"url": URL, **given}, []))
    said = " ".join(capsys.readouterr().err.split())
    assert note in said
    assert bool(said) == bool(note)


PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")


def test_the_page_has_a_pair_of_commands_for_each_tool() -> None:
    named = other_tools.table().tools.keys() - {"other tools"}  # Only the command line answers these.
    assert sorted(tool for tool in named if f"\n### {tool}\n" not in PAGE) == []


@pytest.mark.processes
def test_the_table_is_read_only_where_a_word_is_wrong() -> None:
    program = (
        "import sys; from bench.commands import options; from bench.commands.run import EXAMPLES; "
        "p = options.run_parser('run', 'x', EXAMPLES); f = options.parse_flags(p, ['--url', 'http://h']); "
        "options.resolve_flags(*f); sys.exit('bench.config.other_tools' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_number_of_two_tools_with_one_flag_is_answered_for_both() -> None:
    rows = [("a", Row("--load N", "--concurrency 3"), "N"), ("b", Row("--load N", "--rate 3"), "N")]
    table = other_tools.table()._replace(flags={"--load": rows})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other_tools, "table", lambda: table)
        answer = other_tools.about_flag("--load", "5", ["--concurrency", "--rate"])
    assert answer == (
        "write --concurrency 5 (in place of a's); or write --rate 5 (in place of b's)", {"--concurrency", "--rate"}
    )  # fmt: skip


def test_a_wrong_word_raises_with_all_problems() -> None:
    with pytest.raises(UsageError) as raised:
        run.main(["--isl", "5", "--rate", "x"])
    assert len(raised.value.problems) == 3
