"""Flags: one for each configuration field, each of which changes it."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.commands import options, run
from bench.config import RunConfig, Settings, resolve
from bench.config.flags import GROUPS, USUAL, Parser, add_fields, parse
from bench.errors import UsageError
from bench.sources.sessions import SessionSpec
from bench.transport import TRANSPORTS
from tests.support.literal_server import CERTIFICATE

ALL = "python -m bench run --help-all lists all"
URL = ["--url", "http://127.0.0.1:8000"]
HTTPS = ["--url", "https://h"]
TOOLS = str(Path(__file__).with_name("two_tools.json"))

TWO_CLASSES = [{"name": "a", "share": 3.0, "input_tokens": "64"}, {"name": "b", "share": 1.0}]

KNOBS: dict[str, tuple[list[str], list[str], object]] = {
    # field: flags that this flag needs, the flag, the resulting value
    "url": ([], ["--url", "http://other:1"], "http://other:1"),
    "balance": ([*URL, "--url", "http://b"], ["--balance", "least_in_flight"], "least_in_flight"),
    "affinity": ([*URL, "--url", "http://b"], ["--affinity", "none"], "none"),
    "resolve_all": (URL, ["--resolve-all"], True),
    "replica_header": (URL, ["--replica-header", "X-Pod"], "X-Pod"),
    "endpoint": (URL, ["--endpoint", "completions"], "completions"),
    "model": (URL, ["--model", "m"], "m"),
    "api_key": (URL, ["--api-key", "k"], "k"),
    "images": (URL, ["--images", "n=2,size=64x32"], "n=2,size=64x32"),
    "audio": ([*URL, "--endpoint", "transcriptions"], ["--audio", "length=2s"], "length=2s"),
    "play_after": ([*URL, "--endpoint", "speech"], ["--play-after", "250ms"], 0.25),
    "video": (URL, ["--video", "length=1s,size=64x32"], "length=1s,size=64x32"),
    "prompt_ids": ([*URL, "--endpoint", "completions", "--check-usage"], ["--prompt-ids"], True),
    "check_answers": (URL, ["--check-answers", "5%"], 0.05),
    "probes": ([*URL, "--check-answers", "5%"], ["--probes", "canary=20"], "canary=20"),
    "store_texts": (URL, ["--store-texts"], True),
    "mix": (URL, ["--mix", str(Path(__file__).with_name("two_classes.yaml"))], {"classes": TWO_CLASSES}),
    "cancel": (URL, ["--cancel", "share=0.1,after=2s"], "share=10%,after=2s"),
    "method": ([*URL, "--endpoint", "http"], ["--method", "put"], "PUT"),
    "body": ([*URL, "--endpoint", "http"], ["--body", "a=b"], "a=b"),
    "body_template": ([*URL, "--endpoint", "http"], ["--body-template", "{{ uuid }}"], "{{ uuid }}"),
    "rows": ([*URL, "--endpoint", "http", "--dataset", __file__], ["--rows", "bodies"], "bodies"),
    "expect": ([*URL, "--endpoint", "http"], ["--expect", "status=2xx,json:$.ok"], ("status=2xx,json:$.ok",)),
    "header": (URL, ["--header", "A: b", "--header", "C:d"], ("A: b", "C: d")),
    "extra_body": (URL, ["--extra-body", '{"top_p": 1}'], {"top_p": 1}),
    "ignore_eos": (URL, ["--ignore-eos"], True),
    "stream": (URL, ["--no-stream"], False),
    "ca_file": (HTTPS, ["--ca-file", str(CERTIFICATE)], str(CERTIFICATE)),
    "insecure": (HTTPS, ["--insecure"], True),
    "client_cert": (HTTPS, ["--client-cert", str(CERTIFICATE)], str(CERTIFICATE)),
    "client_key": ([*HTTPS, "--client-cert", str(CERTIFICATE)], ["--client-key", str(CERTIFICATE)], str(CERTIFICATE)),
    "watch_scale": (URL, ["--watch-scale"], True),
    "proxy": (URL, ["--proxy", "http://u:p@h:3128"], "http://u:p@h:3128"),
    "mode": ([*URL, "--requests", "5"], ["--mode", "throughput"], "throughput"),
    "concurrency": (URL, ["--concurrency", "3"], 3),
    "rate": (URL, ["--rate", "2.5"], 2.5),
    "arrivals": ([*URL, "--rate", "1"], ["--arrivals", "constant"], "constant"),
    "burstiness": ([*URL, "--rate", "1"], ["--burstiness", "0.5"], 0.5),
    "max_concurrency": ([*URL, "--rate", "1"], ["--max-concurrency", "4"], 4),
    "trace_speed": ([*URL, "--mode", "trace", "--dataset", __file__], ["--trace-speed", "2"], 2.0),
    "max_idle": (
        [*URL, "--mode", "sessions", "--dataset", str(CERTIFICATE.parent / "recordings" / "weka.json")],
        ["--max-idle", "1m"],
        60.0,
    ),
    "drop_late": ([*URL, "--rate", "1", "--max-concurrency", "4"], ["--drop-late"], True),
    "ramp_up": (URL, ["--ramp-up", "5s"], 5.0),
    "ramp": (URL, ["--ramp", "1..5:10s"], "1..5:10s"),
    "steps": (URL, ["--steps", "5,10:20s"], "5,10:20s"),
    "requests": (URL, ["--requests", "7"], 7),
    "duration": (URL, ["--duration", "2m"], 120.0),
    "until": (URL, ["--until", "ttft:p90=10%", "--until", "e2el:mean=5%"], ("ttft:p90=10%", "e2el:mean=5%")),
    "warmup": (URL, ["--warmup", "20s"], "20s"),
    "input_tokens": (URL, ["--input-tokens", "uniform:1..5"], "uniform:1..5"),
    "batch_inputs": ([*URL, "--endpoint", "embeddings"], ["--batch-inputs", "uniform:1..8"], "uniform:1..8"),
    "output_tokens": (URL, ["--output-tokens", "64"], "64"),
    "dataset": (URL, ["--dataset", __file__], __file__),
    "columns": ([*URL, "--dataset", __file__], ["--columns", "prompt=q"], "prompt=q"),
    "bad_rows": ([*URL, "--dataset", __file__], ["--bad-rows", "skip"], "skip"),
    "text": (URL, ["--text", "code"], "code"),
    "tools": (URL, ["--tools", TOOLS], TOOLS),
    "tool_choice": ([*URL, "--tools", TOOLS], ["--tool-choice", "required"], "required"),
    "repeated_text": (URL, ["--repeated-text", "0.25"], 0.25),
    "turns": ([*URL, "--mode", "sessions"], ["--turns", "uniform:2..5"], "uniform:2..5"),
    "think_time": ([*URL, "--mode", "sessions"], ["--think-time", "exp:mean=2s"], "exp:mean=2s"),
    "sessions_begin": ([*URL, "--mode", "sessions"], ["--sessions-begin", "middle"], "middle"),
    "context_limit": (
        [*URL, "--mode", "sessions", "--dataset", "coding-agent"],
        ["--context-limit", "32768"],
        32768,
    ),
    "history": ([*URL, "--mode", "sessions"], ["--history", "planned"], "planned"),
    "session_header": ([*URL, "--mode", "sessions"], ["--session-header", "X-Session-ID"], "X-Session-ID"),
    "websocket": ([*URL, "--endpoint", "responses"], ["--websocket"], True),
    "reasoning_in_history": ([*URL, "--mode", "sessions"], ["--reasoning-in-history", "echo"], "echo"),
    "prefix": (URL, ["--prefix", "tokens=16"], "tokens=16"),
    "tokenizer": (URL, ["--tokenizer", "dir"], "dir"),
    "check_usage": (URL, ["--check-usage"], True),
    "seed": (URL, ["--seed", "9"], 9),
    "same_prompts": (URL, ["--same-prompts"], True),
    "timeout": (URL, ["--timeout", "5"], 5.0),
    "connect_timeout": (URL, ["--connect-timeout", "5"], 5.0),
    "first_byte_timeout": (URL, ["--first-byte-timeout", "5"], 5.0),
    "idle_timeout": (URL, ["--idle-timeout", "500ms"], 0.5),
    "probe_timeout": (URL, ["--probe-timeout", "5s"], 5.0),
    "wait_for_server": (URL, ["--wait-for-server", "10m"], 600.0),
    "slo": (URL, ["--slo", "ttft:p99<500ms", "--slo", "e2el:p50<2s"], ("ttft:p99<500ms", "e2el:p50<2s")),
    "max_errors": (URL, ["--max-errors", "5%"], "5%"),
    "workers": (URL, ["--workers", "2"], "2"),
    "cluster": (URL, ["--cluster", "ray://head:10001"], "ray://head:10001"),
    "workers_per_node": ([*URL, "--cluster", "ray"], ["--workers-per-node", "2"], 2),
    "runtime_env": ([*URL, "--cluster", "ray"], ["--runtime-env", "code"], "code"),
    "server_metrics": (
        URL,
        ["--server-metrics", "http://a/metrics", "--server-metrics", "http://b/metrics"],
        ("http://a/metrics", "http://b/metrics"),
    ),
    "otlp": (URL, ["--otlp", "http://collector:4318"], "http://collector:4318"),
    "trace_share": ([*URL, "--otlp", "env"], ["--trace-share", "1%"], 0.01),
    "metrics_port": (URL, ["--metrics-port", "0.0.0.0:9400"], "0.0.0.0:9400"),
    "metrics_linger": ([*URL, "--metrics-port", "0"], ["--metrics-linger", "0"], 0.0),
    "gpu_metrics": (URL, ["--gpu-metrics", "http://a:9400/metrics"], "http://a:9400/metrics"),
    "gpus": (URL, ["--gpus", "2"], 2),
    "gpu_hour_cost": ([*URL, "--gpus", "1"], ["--gpu-hour-cost", "2.5"], 2.5),
    "cpu_priority": (URL, ["--cpu-priority", "normal"], "normal"),
    "out": (URL, ["--out", "dir"], "dir"),
    "name": (URL, ["--name", "n"], "n"),
    "format": (URL, ["--format", "json"], "json"),
    "quiet": (URL, ["--quiet"], True),
    "details": (URL, ["--details"], True),
}
NO_FLAG = {"limits", "api", "targets"}
"""A table of bands has no flag: it is set in the file of --config."""
EACH_VALUE = {"transport"}
"""Every value is tried below."""


def run_parser() -> Parser:
    parser = Parser(prog="python -m bench run")
    add_fields(parser, Settings)
    parser.add_argument("--config", default=argparse.SUPPRESS)
    return parser


def resolved(words: list[str]) -> RunConfig:
    """The configuration from flags, with the file that they name and the environment."""
    return options.resolve_flags(*options.parse_flags(run_parser(), words))


def configured(argv: list[str]) -> RunConfig:
    flags, problems = parse(run_parser(), argv)
    assert problems == []
    return resolve(flags)


def value(config: RunConfig, name: str) -> Any:
    found = getattr(config, name)
    return found.get_secret_value() if name == "api_key" and found is not None else found


def test_the_table_of_knobs_has_every_field() -> None:
    assert set(KNOBS) | NO_FLAG | EACH_VALUE == set(Settings.model_fields), (
        "KNOBS needs a row for each setting: flags that its flag needs, the flag, the resulting value"
    )


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_each_flag_changes_the_configuration_to_what_it_says(name: str) -> None:
    beside, flag, expected = KNOBS[name]
    without = value(configured(beside), name) if beside else None
    assert value(configured([*beside, *flag]), name) == expected
    assert without != expected


@pytest.mark.parametrize("name", sorted(TRANSPORTS))
def test_each_transport_can_be_asked_for(name: str) -> None:
    assert configured([*URL, "--transport", name]).transport == name


@pytest.mark.parametrize("word", ["poisson", "constant"])
def test_values_may_follow_an_equals_sign(word: str) -> None:
    assert configured([*URL, "--rate=1", f"--arrivals={word}"]).arrivals == word


def test_a_flag_that_is_none_is_named_with_the_nearest_one() -> None:
    _, problems = parse(run_parser(), [*URL, "--concurency", "5", "--zzz=1"])
    assert problems == ["--concurency is not a flag: did you mean --concurrency?", f"--zzz is not a flag: {ALL}"]


def test_every_stray_word_is_named() -> None:
    _, problems = parse(run_parser(), ["five", *URL, "--quiet", "six"])
    assert problems == [f"{word!r} was not expected: values follow a flag" for word in ("five", "six")]


def test_a_second_value_says_that_a_flag_takes_one() -> None:
    _, problems = parse(run_parser(), [*URL, "--concurrency", "1", "2", "4", "--slo", "ttft<1s", "tpot<1s"])
    assert problems == [
        "'2' was not expected: --concurrency takes one value; for several loads, write python -m bench sweep --loads "
        "concurrency=1,2,4",
        "'tpot<1s' was not expected: --slo takes one value, and may be given again: --slo A --slo B",
    ]


def test_a_secret_behind_a_mistyped_flag_is_not_quoted() -> None:
    for argv in (["--api-ky", "sk-secret"], ["--api-ky=sk-secret"]):
        _, problems = parse(run_parser(), argv)
        assert problems == ["--api-ky is not a flag: did you mean --api-key?"]


def test_flags_cannot_be_abbreviated() -> None:
    _, problems = parse(run_parser(), [*URL, "--concurr", "5"])
    assert len(problems) == 1


@pytest.mark.parametrize(("begun", "ours"), [("--conc", "--concurrency"), ("--input", "--input-tokens")])
def test_the_beginning_of_a_flag_leads_to_it(begun: str, ours: str) -> None:
    _, problems = parse(run_parser(), [*URL, begun, "4"])
    assert problems == [f"{begun} is not a flag: did you mean {ours}?"]


def test_an_address_without_its_flag_is_named_and_is_the_only_problem() -> None:
    flags, problems = parse(run_parser(), ["http://127.0.0.1:8000", "--quiet"])
    assert problems == ["'http://127.0.0.1:8000' was not expected: did you mean --url http://127.0.0.1:8000?"]
    assert flags["url"] == "http://127.0.0.1:8000"


def test_of_a_repeated_flag_the_last_value_counts_and_only_addresses_and_lists_are_collected() -> None:
    words = ["--url", "http://a", "--model", "m", "--rate", "1", "--url", "http://b=3", "--model", "n", "--rate", "2"]
    flags, problems = parse(run_parser(), [*words, "--header", "A: 1", "--header", "B: 2"])
    assert (flags["url"], flags["model"], flags["rate"]) == (["http://a", "http://b=3"], "n", "2")
    assert (flags["header"], problems) == (["A: 1", "B: 2"], [])


def test_a_value_may_begin_with_a_dash() -> None:
    flags, problems = parse(run_parser(), [*URL, "--duration", "-5s", "--api-key", "-k", "--quiet"])
    assert (flags["duration"], flags["api_key"], flags["quiet"], problems) == ("-5s", "-k", True, [])


def test_a_file_that_is_no_yaml_may_hold_the_url(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("url: [\n")
    with pytest.raises(UsageError) as raised:
        resolved(["--config", str(path), "--rate", "x"])
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        f"--config {path}, line 2, column 1",
        "--rate",
    ]


def test_a_flag_without_its_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--rate needs a value \(see python -m bench run --help\)"):
        parse(run_parser(), [*URL, "--rate"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report"], "missing: RUN (see python -m bench report --help)"),
        (["run", "--quiet=yes"], "--quiet takes no value (given: 'yes') (see python -m bench run --help)"),
        (
            ["completion", "csh"],
            "shell: 'csh' is not one of bash, zsh, fish, tcsh (see python -m bench completion --help)",
        ),
        (["limits", "--foo"], "--foo is not a flag: python -m bench limits --help lists all"),
    ],
)
def test_what_argparse_refuses_is_said_plainly(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("wanted", ["action", "action, name"])
def test_an_action_that_is_missing_has_an_example(wanted: str) -> None:
    """Python versions differ in whether they also name optional arguments after it."""
    with pytest.raises(UsageError, match=r"^name an action, for example ls \(see p --help\)$"):
        Parser(prog="p").error(f"the following arguments are required: {wanted}")


@pytest.mark.parametrize(
    "said",
    [
        "invalid choice: 'csh' (choose from 'bash', 'zsh')",  # Python 3.11
        "invalid choice: 'csh' (choose from bash, zsh)",  # Python 3.14
        "invalid choice: 'csh', maybe you meant 'zsh'? (choose from bash, zsh)",  # Python 3.15
    ],
)
def test_a_choice_is_refused_in_the_same_words_by_each_version_of_python(said: str) -> None:
    with pytest.raises(UsageError, match=r"^shell: 'csh' is not one of bash, zsh \(see p --help\)$"):
        Parser(prog="p").error(f"argument shell: {said}")


def help_of(command: str, capsys: pytest.CaptureFixture[str], flag: str = "--help-all") -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, flag])
    assert ended.value.code == 0
    return capsys.readouterr().out


def flags_in(text: str) -> set[str]:
    """The flags that a help text explains: those at the head of a line."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


def expected_flags() -> set[str]:
    flags = set()
    for name in set(Settings.model_fields) - NO_FLAG:
        on = Settings.model_fields[name].default is True
        flags.add(f"--{'no-' if on else ''}{name.replace('_', '-')}")
    return flags | {"--config", "--help", "--help-all"}


def test_the_help_of_run_explains_every_flag_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags_in(help_of("run", capsys)) == expected_flags() | {"--repeats"}


@pytest.mark.parametrize("command", ["run", "search", "sweep", "calibrate"])
def test_help_shows_the_usual_flags_and_ends_with_how_to_see_all(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, text = help_of(command, capsys), help_of(command, capsys, "--help")
    usual = {f"--{name.replace('_', '-')}" for name in USUAL}
    of_runs = {f"--{'no-' if name == 'stream' else ''}{name.replace('_', '-')}" for name in Settings.model_fields}
    assert flags_in(text) - flags_in(whole) == set()
    assert flags_in(text) & of_runs == flags_in(whole) & usual, "the short help has only the usual settings of a run"
    left = len(flags_in(whole) - flags_in(text))
    assert text.rstrip().endswith(
        f"{left} more flags (headers, arrivals, sessions, timeouts, metrics, workers, clusters):\n"
        f"  python -m bench {command} --help-all"
    )
    groups = re.findall(r"^([a-z ]+):\n  example: (.*)$", text, re.MULTILINE)
    assert all(set(re.findall("--[a-z-]+", example)) <= flags_in(text) for _, example in groups)
    if command == "run":
        assert len(flags_in(text)) <= 26
        shown = {name for name, field in Settings.model_fields.items() if name in USUAL and field.json_schema_extra}
        wanted = {str((Settings.model_fields[name].json_schema_extra or {})["group"]) for name in shown}  # type: ignore[index]
        assert {title for title, _ in groups} == {GROUPS[group] for group in wanted}


def test_the_flags_that_scripts_rely_on_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    relied_on = """
        url endpoint model api-key header mode concurrency rate burstiness max-concurrency ramp-up ramp requests duration
        warmup timeout input-tokens output-tokens ignore-eos no-stream extra-body dataset prefix tokenizer seed transport slo
        max-errors ca-file insecure drop-late out config name format quiet details
    """
    assert {f"--{name}" for name in relied_on.split()} <= flags_in(help_of("run", capsys))


def test_calibrate_has_the_flags_of_run_and_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags_in(help_of("calibrate", capsys)) == expected_flags() | {"--mock", "--sweep", "--full", "--no-store"}


def test_help_shows_no_leftover_of_formatting(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("run", capsys)
    assert text.startswith("usage: python -m bench run [--FLAG VALUE]...\n"), (
        "the usage line must not list eighty flags"
    )
    assert text.index("examples:\n  python -m bench run --url") < text.index("--help")
    assert "%%" not in text
    assert "N|P%" in text
    assert "PydanticUndefined" not in text


@pytest.mark.parametrize(
    ("name", "beside", "expected"),
    [
        ("endpoint", [], "chat"), ("mode", [], "concurrency"), ("concurrency", [], 10),
        ("requests", ["--mode", "sessions"], 100), ("warmup", ["--requests", "1"], "0"), ("duration", [], "60s"),
        ("arrivals", ["--rate", "1"], "poisson"), ("output_tokens", [], "128"), ("input_tokens", [], "1024"),
        ("timeout", [], "600s"), ("probe_timeout", [], "30s"), ("seed", [], 0),
        ("metrics_linger", ["--metrics-port", "0"], "15s"),
    ],
)  # fmt: skip
def test_the_default_in_the_help_is_the_value_of_a_run(
    name: str, beside: list[str], expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    found = value(configured([*URL, *beside]), name)
    assert (f"{found:g}s" if isinstance(found, float) else found) == expected  # A time is shown with its unit.
    if name != "mode":  # The default of the mode depends on other flags.
        whole = re.sub(r"^  example: .*$", "", help_of("run", capsys), flags=re.MULTILINE)
        explained = " ".join(whole.partition("\noptions:\n")[2].split())  # After the examples.
        flag = f"--{name.replace('_', '-')}"
        assert re.search(rf" {flag} .*?\(default: ([\w.]+)", explained)[1] == str(expected)  # type: ignore[index]


def test_the_default_of_sessions_in_the_help_is_what_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    data = configured([*URL, "--mode", "sessions"]).data
    assert isinstance(data, SessionSpec)
    assert (data.turns, data.think_time, data.output_tokens) == ("4", "0s", "128")
    explained = " ".join(help_of("run", capsys).split())
    assert "turns in each session (default: 4)" in explained
    assert "between an answer and the next turn (default: 0s)" in explained


def test_a_switch_shows_no_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert not {"(default: False)", "(default: True)", "(default: None)"} & {
        *re.findall(r"\(default: \w+\)", help_of("run", capsys))
    }


def test_no_default_is_written_in_prose() -> None:
    assert [name for name, field in Settings.model_fields.items() if "(default" in str(field.description)] == []


def test_each_field_stands_in_a_group_of_the_help() -> None:
    for name, field in Settings.model_fields.items():
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["group"] in {*GROUPS, "file"}, name
        assert field.description, name


def test_the_help_names_what_a_flag_takes_and_each_word_of_those_that_take_few() -> None:
    parser = Parser(prog="run")
    add_fields(parser, Settings)
    shown = {action.dest: action.metavar for action in parser._actions}
    assert {name: shown[name] for name in ("bad_rows", "format", "balance", "duration", "name", "warmup")} == {
        "bad_rows": "fail|skip", "format": "text|json", "balance": "round_robin|weighted|least_in_flight", "duration": "S",
        "name": "NAME", "warmup": "N|S|auto",
    }  # fmt: skip


def test_each_example_of_the_help_is_accepted() -> None:
    found = [line.strip() for line in run.EXAMPLES.splitlines() if line.startswith("  python -m bench run")]
    assert len(found) >= 3
    for line in found:
        configured(shlex.split(line)[4:])


def test_a_run_can_be_configured_by_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("url: http://h:1\nrate: 5\nlimits:\n  errors: {suspect: 0.5}\n")
    config = resolved(["--config", str(path)])
    assert (config.url, config.rate, config.limits.errors.suspect) == ("http://h:1", 5.0, 0.5)


def test_problems_of_flags_file_and_values_are_named_together(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    path.write_text("sed: 5\n")
    with pytest.raises(UsageError) as raised:
        resolved([*URL, "--config", str(path), "--bogus", "--rate", "x"])
    text = "\n".join(raised.value.problems)
    assert len(raised.value.problems) == 3
    assert all(word in text for word in ("--bogus", "sed", "--rate"))


def test_the_key_comes_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert value(resolved(URL), "api_key") == "sk-env"
    assert value(resolved([*URL, "--api-key", "sk-flag"]), "api_key") == "sk-flag"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert value(resolved(URL), "api_key") is None


@pytest.mark.parametrize("words", [["help", "run"], ["--help", "run"], ["run", "--help"]])
def test_help_of_a_command_may_be_asked_for_in_any_order(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(words)
    assert capsys.readouterr().out.startswith("usage: python -m bench run ")


def test_help_and_version_are_commands_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert (cli.main(["help"]), cli.main(["version"])) == (0, 0)
    assert re.match(r"usage: python -m bench COMMAND(.|\n)*^trueload \d", capsys.readouterr().out, re.MULTILINE)


def test_help_of_what_is_no_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "runn"]) == 2
    assert capsys.readouterr().err == "error: 'runn' is not a command: did you mean run?\n"
