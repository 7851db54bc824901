"""Configuration: flags and YAML have the same fields. All problems are reported at once, with place and advice."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mockserver import cli, native
from mockserver.api import _plain, flags_of
from mockserver.combinations import replica_problems, replica_settings
from mockserver.config import Flag, MockConfig, load
from mockserver.errors import UsageError
from mockserver.http import server
from mockserver.settings import LIVE, changed
from promptset import closed_pipe

MS = 1_000_000


def read(*arguments: str) -> MockConfig:
    return cli.read_arguments(arguments)


def problems(*arguments: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(*arguments)
    return caught.value.problems


def test_the_defaults_are_the_documented_ones() -> None:
    config = MockConfig()
    assert (config.ttft.mean(), config.tpot.mean(), config.output_tokens.mean()) == (50 * MS, 20 * MS, 128)
    assert (config.model, config.seed, config.port, config.max_model_len) == ("mock-model", 0, 8000, 131072)
    assert (config.drain_s, config.engine, config.itl, config.fault) == (5.0, "sampled", None, ())


PROFILE = str(Path(__file__).parents[2] / "support" / "made_profile.json")

TIMES = str(Path(__file__).parents[2] / "support" / "made_times.json")

CHANGES: dict[str, tuple[str, Any]] = {
    "preset": ("gpt-4o-openai", "gpt-4o-openai"),
    "profile": (PROFILE, PROFILE),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("0", 0),
    "model": ("m", "m"),
    "api_key": ("k", ["***"]),
    "cors": ("http://localhost:3000", ["http://localhost:3000"]),
    "admin": ("nobody", "nobody"),
    "max_model_len": ("4096", 4096),
    "stored_responses": ("50", 50),
    "stored_mb": ("1.5", 1.5),
    "lost_response": ("openai", "openai"),
    "max_body_mb": ("1.5", 1.5),
    "keep_alive_s": ("9", 9.0),
    "drain_s": ("0", 0.0),
    "head_timeout_s": ("0.5", 0.5),
    "body_timeout_s": ("2.5", 2.5),
    "max_head_kb": ("8", 8.0),
    "allowed_host": ("Mock.Example", ["mock.example"]),
    "workers": ("3", 3),
    "replicas": ("3", 3),
    "replica": ("1:ttft=9ms", ["1:ttft=9ms"]),
    "scale": ("start=3s", "start=3s"),
    "cpu_priority": ("normal", "normal"),
    "engine": ("sampled", "sampled"),
    "ttft": ("exp:mean=1s", "exp:mean=1s"),
    "tpot": ("7ms", "7ms"),
    "itl": ("uniform:1ms..2ms", "uniform:1ms..2ms"),
    "ttft_per_input_token": ("20us", "20us"),
    "load_slowdown": ("0.5", 0.5),
    "sampled_times": (TIMES, TIMES),
    "replay": ("seen.jsonl", "seen.jsonl"),
    "replay_draw": ("random", "random"),
    "num_speculative_tokens": ("4", 4),
    "acceptance_rate": ("0.9", 0.9),
    "stream_interval": ("8", 8),
    "step_cost": ("qwen3-14b-h100", "qwen3-14b-h100"),
    "max_num_seqs": ("16", 16),
    "max_num_batched_tokens": ("512", 512),
    "kv_blocks": ("9000", 9000),
    "prefix_caching": ("off", False),
    "scheduling_policy": ("priority", "priority"),
    "output_tokens": ("uniform:1..9", "uniform:1..9"),
    "embedding_size": ("64", 64),
    "reasoning_tokens": ("uniform:1..9", "uniform:1..9"),
    "image_tokens": ("85", 85),
    "audio_tokens": ("40", 40),
    "video_tokens": ("500", 500),
    "tool_share": ("0.5", 0.5),
    "tool_calls": ("2", 2),
    "reasoning_field": ("reasoning_content", "reasoning_content"),
    "finish": ("separate", "separate"),
    "reply_details": ("timings", ["timings"]),
    "tokenizer": ("somewhere", "somewhere"),
    "fault": ("429:rate=0.5", ["429:rate=0.5"]),
    "ledger": ("l.jsonl", "l.jsonl"),
    "seed": ("-3", -3),
}


BESIDE = {
    "replay_draw": ("--replay=seen.jsonl",),
    "replica": ("--replicas=2",),
    "acceptance_rate": ("--num-speculative-tokens=4",),
    **dict.fromkeys(
        ("step_cost", "max_num_seqs", "max_num_batched_tokens", "kv_blocks", "prefix_caching", "scheduling_policy"),
        ("--engine=batching",),
    ),
}
"""Flags without which a field would have no effect, and would be refused."""


def test_every_field_is_a_flag_and_a_key_and_changes_the_configuration(tmp_path: Path) -> None:
    assert CHANGES.keys() == MockConfig.model_fields.keys()
    for name, (text, value) in CHANGES.items():
        flag = "--" + name.replace("_", "-")
        by_flag = read(f"{flag}={text}", *BESIDE.get(name, ()))
        path = tmp_path / "mock.yaml"
        path.write_text(f"{name}: {text}\n")
        by_key = read("--config", str(path), *BESIDE.get(name, ()))
        assert by_flag == by_key, name
        assert by_flag.model_dump(mode="json")[name] == value, name


def test_every_field_has_a_place_in_help_and_a_line_that_explains_it() -> None:
    for name, field in MockConfig.model_fields.items():
        assert field.description, name
        assert any(isinstance(extra, Flag) for extra in field.metadata), name


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text("ttft: 1ms\ntpot: 2ms\n")
    config = read("--config", str(path), "--ttft", "9ms")
    assert (str(config.ttft), str(config.tpot)) == ("9ms", "2ms")


def test_a_tpot_also_overrides_an_earlier_itl(tmp_path: Path) -> None:
    file = tmp_path / "mock.yaml"
    file.write_text("itl: 9ms\n")
    config = read("--config", str(file), "--tpot", "1ms")
    assert (config.itl, str(config.tpot)) == (None, "1ms")
    itl = read("--itl", "9ms")
    assert changed(itl, {"tpot": "1ms"}).itl is None
    assert str(changed(itl, {"ttft": "1ms"}).itl) == "9ms"
    assert str(read("--itl", "9ms", "--tpot", "1ms").itl) == "9ms"


def test_faults_can_be_given_several_times_and_as_a_list(tmp_path: Path) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text("fault:\n  - 429\n  - reset:index=3\n")
    by_key, by_flag = read("--config", str(path)), read("--fault", "429", "--fault", "reset:index=3")
    assert [str(rule) for rule in by_key.fault] == ["429", "reset:index=3"]
    assert by_key == by_flag


def test_a_model_may_have_several_names(tmp_path: Path) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text("model: [one, two]\n")
    by_file, by_comma, by_flags = (
        read("--config", str(path)),
        read("--model", "one, two"),
        read("--model=one", "--model=two"),
    )
    assert by_file == by_comma == by_flags
    assert (by_flags.models, MockConfig().models) == (("one", "two"), ("mock-model",))
    for wrong in ("one,one", "one,", ""):
        (problem,) = problems("--model", wrong)
        assert problem.startswith("--model: ")


def test_what_is_a_list_is_a_flag_given_several_times() -> None:
    config = read("--api-key", "a", "--api-key", "b", "--cors", "*", "--cors", "https://ui.example")
    assert (config.api_key, config.cors) == (("a", "b"), ("*", "https://ui.example"))


FIXED_WHILE_SERVING = {
    "engine", "embedding_size", "tokenizer", "replay", "replay_draw", "load_slowdown", "sampled_times",
    "num_speculative_tokens",
}  # fmt: skip


def test_latencies_replies_and_faults_may_change_while_serving_and_nothing_else() -> None:
    groups = {
        name: next(e for e in f.metadata if isinstance(e, Flag)).group for name, f in MockConfig.model_fields.items()
    }
    plans = {name for name, group in groups.items() if group in ("latency", "text", "faults")}
    # New fields of these groups affect plans: mark their Flag `live`, or name them here.
    assert plans - set(LIVE) == FIXED_WHILE_SERVING
    assert set(LIVE) <= plans


def test_a_change_is_written_as_in_the_file_and_leaves_the_rest() -> None:
    before = read("--ttft", "9ms", "--api-key", "k", "--seed", "3")
    after = changed(before, {"tpot": "exp:mean=1ms", "fault": ["429:rate=0.5", "reset"], "output_tokens": 7})
    assert (str(after.ttft), str(after.tpot), after.seed, after.api_key) == ("9ms", "exp:mean=1ms", 3, ("k",))
    assert [str(rule) for rule in after.fault] == ["429:rate=0.5", "reset"]
    assert changed(after, {"fault": []}).fault == ()
    assert str(before.tpot) == "20ms"


def test_a_change_is_refused_with_every_problem() -> None:
    with pytest.raises(UsageError) as caught:
        changed(MockConfig(), {"ttft": "5", "port": 1, "falt": "x", "nonsense": 1, "fault": ["rest"]})
    told = caught.value.problems
    assert len(told) == 5
    for part in (
        "ttft: '5'",
        "port: cannot change while the mock serves; these fields can: ttft, ",
        "falt: no such key; did you mean fault?",
        "nonsense: no such key; these fields can change: ttft, ",
        "fault.0: 'rest': no fault is called 'rest'",
    ):
        assert any(problem.startswith(part) for problem in told), (part, told)


def test_all_problems_are_told_at_once_with_place_and_advice(tmp_path: Path) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text("tttf: 1ms\noutput-tokens: 3\ntpot: 5\nfault: [rest]\n")
    told = problems("--config", str(path), "--port", "99999", "--modell", "x", "--ttft", "exp:1s")
    for part in (
        f"{path}: tttf: no such key; did you mean ttft?",
        f"{path}: output-tokens: no such key; did you mean output_tokens?",
        f"{path}: tpot: ",
        f"{path}: fault.0: 'rest': no fault is called 'rest'; did you mean reset?",
        "--port: '99999': write a number of at most 65535",
        "--modell: no such flag; did you mean --model?",
        "--ttft: ",
    ):
        assert any(problem.startswith(part) for problem in told), (part, told)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--engine", "batched"), "--engine: 'batched'"),
        (("--preset", "qwen2.5-7b"), "--preset: no preset is called 'qwen2.5-7b'; did you mean qwen2.5-7b-h100?"),
        (("--workers", "0"), "--workers: '0': write a number of at least 1"),
        (("stray",), "stray: unexpected argument; every value needs a flag"),
        (("--ttft",), "--ttft: needs a value (--ttft DIST)"),
        (("--ttft", "--seed", "1"), "--ttft: needs a value (--ttft DIST)"),
        (("8000",), "8000: unexpected argument; did you mean --port 8000?"),
        (("--ttft", "50ms-100ms"), "--ttft: '50ms-100ms': for values between the two, write uniform:50ms..100ms"),
        (("--ttft", "-5ms"), "--ttft: '-5ms' cannot be negative"),
        (("--drain-s", "-0.5"), "--drain-s: '-0.5': write a number of at least 0"),
        (("-c", "4"), "-c: the mock has no short flags; did you mean --config or --cors or --cpu-priority?"),
        (("-z",), "-z: the mock has no short flags; see --help"),
        (("-ttft", "5ms"), "-ttft: no such flag; did you mean --ttft?"),
        (("--prot", "0"), "--prot: no such flag; did you mean --port?"),
        (("--tttf", "5ms"), "--tttf: no such flag; did you mean --ttft?"),
        (("--concurrency", "4"), "--concurrency: not a flag of the mock but of the load tester"),
        (("--max-tokens", "4"), "--max-tokens: no such flag; did you mean --output-tokens?"),
        (("--something", "4"), "--something: no such flag; see --help"),
        (("--seed", "1.5"), "--seed: '1.5': write a whole number"),
        (("--prefix-caching", "maybe"), "--prefix-caching: 'maybe': write on or off"),
        (("--acceptance-rate", "2"), "--acceptance-rate: '2': write a number of at most 1"),
        (("--ttft", "50"), "--ttft: '50'"),
        (("--output-tokens", "5ms"), "--output-tokens: '5ms'"),
        (("--config", "/nowhere/mock.yaml"), "/nowhere/mock.yaml: cannot be read"),
        (("--drain-s", "-1"), "--drain-s: '-1'"),
        (("--seed", "x"), "--seed: 'x'"),
        (("--seed", str(2**63)), f"--seed {2**63}: is beyond 64 bits"),
        (("--max-body-mb", "inf"), "--max-body-mb: 'inf': write a finite number"),
        (("--drain-s", "1e300"), "--drain-s: '1e300': write a number of at most 1e+09"),
        (("--ttft", "1e10s"), "--ttft: '1e10s': its values grow beyond all bounds"),
        (("--acceptance-rate", "0.5"), "--acceptance-rate has no effect without --num-speculative-tokens"),
        (("--port", "65535", "--replicas", "2"), "--port 65535: --replicas 2 needs ports beyond 65535"),
        (("--cors", "localhost:3000/app"), "--cors: 'localhost:3000/app': write an origin like"),
        (("--admin", "root"), "--admin: 'root'"),
        (("--allowed-host", "http://x"), "--allowed-host: 'http://x': write a host name like mock.example"),
        (("--api-key", ""), "--api-key: the key is empty"),
        (("--api-key", "s3cret\r\nX: 1"), "--api-key: the key has characters that a header cannot carry"),
    ],
)
def test_wrong_usage_says_where(arguments: tuple[str, ...], says: str) -> None:
    assert any(says in problem for problem in problems(*arguments)), problems(*arguments)


@pytest.mark.parametrize("text", ["- a list\n", "5\n", "a: [\n", "a: " + "[" * 1000])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mock\.yaml"):
        load(path, {})


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mock.yaml"
    path.write_text("")
    assert load(path, {}) == MockConfig()


def test_the_key_is_never_shown() -> None:
    assert read("--api-key", "secret-9\n").api_key == ("secret-9",), "without the line end, as in a request"
    config = read("--api-key", "secret-9")
    assert config.api_key == ("secret-9",)
    assert "secret-9" not in repr(config)
    assert "secret-9" not in config.model_dump_json()
    with pytest.raises(UsageError) as caught:
        load(None, {"api_key": 90210})
    assert "90210" not in str(caught.value)


def test_wrong_usage_exits_2_with_one_line_a_problem_and_nothing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--port", "x", "--ttfft", "1ms"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert all(line.startswith("mockserver: --") for line in err.splitlines())


def test_white_space_after_a_key_is_removed_with_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[tuple[str, ...]] = []
    monkeypatch.setattr(server, "serve", lambda config: served.append(config.api_key))
    assert cli.main(["--api-key", "one", "--api-key", "two\n"]) == 0
    assert capsys.readouterr().err == "mockserver: note: --api-key: white space after the key was removed\n"
    assert cli.main(["--api-key", "one"]) == 0
    assert capsys.readouterr().err == ""
    assert served == [("one", "two"), ("one",)]


def test_a_flag_is_written_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--embedding-siz", "16"]) == 2
    assert "--embedding-siz" in capsys.readouterr().err


def test_a_command_is_that_of_the_process_which_survives_a_closed_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    survived: list[bool] = []
    monkeypatch.setattr(closed_pipe, "survive", lambda *, results: survived.append(results))
    monkeypatch.setattr(sys, "argv", ["mockserver", "--port", "x"])
    assert cli.main() == 2
    assert capsys.readouterr().err.startswith("mockserver: --port")
    assert survived == [False]


def test_help_shows_every_flag_and_fault_and_only_what_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ("--output-tokens", "error_in_stream", "x-mock-fault", "(default: 50ms)", "(default: on)", "Examples:"):
        assert word in text
    statuses = "400 401 403 404 413 429 500 502 503 504 529"
    refusals = (
        f"the request is refused: {statuses} [retry_after=1: 429 and 503] before a request is read: refuse refuse"
    )
    one_line = " ".join(text.split())
    assert refusals in one_line
    assert "reset reset the connection (TCP RST) [after] truncate" in one_line
    assert "no_done end properly but without [DONE] the content:" in one_line


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == (
        f"mockserver {importlib.metadata.version('trueload')} (sender: {native.in_use()})\n"
    )


@pytest.mark.processes
def test_help_imports_no_server_and_the_collector_looks_rarely_meanwhile() -> None:
    code = "import gc, runpy, sys; looks = gc.get_stats()[0]['collections']; sys.argv = ['mockserver', '--help']\n"
    code += "try: runpy.run_module('mockserver', run_name='__main__', alter_sys=True)\nexcept SystemExit: pass\n"
    code += "print([m for m in ('fastapi', 'uvicorn', 'tokenizers', 'uvloop') if m in sys.modules], file=sys.stderr)\n"
    code += "print(gc.get_stats()[0]['collections'] - looks, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, looks = done.stderr.splitlines()
    assert modules == "[]"
    assert int(looks) < 10  # A collection per 700 new objects, the default, would be about 70.


def test_a_replica_has_its_own_settings_and_faults_add_up() -> None:
    words = (
        "0:ttft=9ms",
        " 1 : output-tokens=5",
        "1:fault=429:rate=0.5",
        "1:fault=reset:index=3",
        "1:ttft=1ms",
        "1:ttft=2ms",
    )
    config = MockConfig(replicas=2, replica=words)
    assert replica_settings(config, 0) == {"ttft": "9ms"}
    assert replica_settings(config, 1) == {
        "output_tokens": "5", "fault": ["429:rate=0.5", "reset:index=3"], "ttft": "2ms",
    }  # fmt: skip
    assert replica_problems(config) == []


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        *(([f"--replica={words}"], f"--replica {words}: write N:KEY=VALUE, for example 1:ttft=200ms")
          for words in ("ttft=1ms", "x:ttft=1ms", "1:ttft", "-1:ttft=1ms")),
        (["--replica=2:ttft=1ms"], "--replica 2:ttft=1ms: --replicas 2 has no replica 2 (from 0)"),
        (["--workers=2"], "--replicas and --workers cannot be combined: each replica is one process"),
    ],
)  # fmt: skip
def test_a_replica_that_cannot_be_is_refused(flags: list[str], problem: str) -> None:
    assert problems("--replicas=2", *flags) == [problem]


def test_python_values_become_flags_and_json() -> None:
    assert flags_of({"ttft": "9ms", "fault": ["a", "b"], "itl": None, "max_model_len": 5}) == [
        "--ttft=9ms", "--fault=a", "--fault=b", "--max-model-len=5",
    ]  # fmt: skip
    assert _plain([1, 2.5, "x", None, True, Path("p"), ("y",)]) == [1, 2.5, "x", None, True, "p", ["y"]]


@pytest.mark.parametrize(
    ("field", "least", "below", "most"),
    [
        ("port", 0, -1, 65_535), ("max_model_len", 2, 1, None), ("stored_responses", 0, -1, 1_000_000),
        ("stored_mb", 0.001, 0, 65_536), ("max_body_mb", 0.001, 0, 1e6), ("body_timeout_s", 0.001, 0, 1e9),
        ("max_head_kb", 0.001, 0, 1e6), ("head_timeout_s", 0.001, 0, 1e9), ("keep_alive_s", 0.001, 0, 1e9),
        ("drain_s", 0, -0.001, 1e9), ("workers", 1, 0, 64), ("replicas", 1, 0, 64), ("num_speculative_tokens", 0, -1, 1_000),
        ("acceptance_rate", 0, -0.001, 1), ("stream_interval", 1, 0, None), ("max_num_seqs", 1, 0, None),
        ("max_num_batched_tokens", 1, 0, None), ("kv_blocks", 1, 0, 10_000_000), ("embedding_size", 1, 0, 65_536),
        ("image_tokens", 0, -1, None), ("audio_tokens", 0, -1, None), ("video_tokens", 0, -1, None),
        ("tool_share", 0, -0.001, 1), ("load_slowdown", 0, -0.001, None), ("tool_calls", 1, 0, 128),
    ],
)  # fmt: skip
def test_a_number_has_its_limits(field: str, least: float, below: float, most: float | None) -> None:
    beside: dict[str, Any] = {"num_speculative_tokens": 1} if field == "acceptance_rate" else {}
    if field in ("max_num_seqs", "max_num_batched_tokens", "kv_blocks"):
        beside = {"engine": "batching", "max_model_len": 16}
    assert getattr(MockConfig(**{**beside, field: least}), field) == least
    beyond = [below]
    if most is not None:
        assert getattr(MockConfig(**{**beside, field: most}), field) == most
        beyond.append(most + (1 if isinstance(most, int) and most > 1 else 0.001))
    for value in beyond:
        with pytest.raises(ValidationError) as refused:
            MockConfig(**{**beside, field: value})
        assert [error["loc"] for error in refused.value.errors()] == [(field,)]
