"""Configuration: settings and their consequences. test_refused_config.py covers refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.config import RunConfig, resolve
from bench.config.resolution import given_again, read_yaml
from bench.config.values import seconds
from bench.errors import UsageError
from tests.support.configurations import URL, problems, resolved

SECRET = "sk-very-secret-1234"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30.0), (45, 45.0), (0.5, 0.5), ("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), ("5min", 300.0),
     ("1h", 3600.0), ("250us", 0.00025), (" 1.5 s ", 1.5), (".5s", 0.5)],
)  # fmt: skip
def test_a_time_is_read_as_people_write_it(text: object, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["5x", "", "s", "1m30s", "five", "1,5s", "nan", "inf"])
def test_what_is_no_time_is_refused_with_the_ways_to_write_one(text: str) -> None:
    assert "write seconds (30) or a number with a unit" in problems(duration=text)[0]


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("slo: " + "[" * 1000)
    with pytest.raises(UsageError, match=r"--config .*run\.yaml: it is nested too deeply"):
        read_yaml(path)


def test_a_setting_that_a_file_gives_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("url: http://a\nrate: 5\nmax-errors: 1\nurl: http://b\nmax_errors: 2\n")
    with pytest.raises(UsageError) as caught:
        read_yaml(path)
    assert caught.value.problems == [
        f"--config {path}, line 4: url is already in line 1: use only one of them",
        f"--config {path}, line 5: max_errors is already in line 3: use only one of them",
    ]


def test_a_setting_that_a_line_gives_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text('{"url": "http://a", "url": "http://b"}')
    with pytest.raises(UsageError, match=f"^--config {path}, line 1: url is already in line 1"):
        read_yaml(path)


def test_a_url_that_is_none_ends_no_command_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["run", "--concurrency", "1"],
        ["sweep", "--loads", "concurrency=1"],
        ["search", "--slo", "ttft:p99<1s"],
    ):
        assert cli.main([*command, "--url", "http://[::1:80"]) == 2
        assert "'http://[::1:80' is not a URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "url: &a [*a]\n",
        "a: &a [x, x]\n"
        + "".join(f"b{i}: &b{i} [{', '.join(['*a' if i == 0 else f'*b{i - 1}'] * 40)}]\n" for i in range(9)),
    ],
    ids=["itself", "a billion"],
)
def test_aliases_that_repeat_without_end_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(
        UsageError, match=r"run\.yaml: it has more than 100,000 values, or an alias \(\*\) that refers to itself"
    ):
        read_yaml(path)
    path.write_text("header: &h [a, b]\nurl: x\n")
    assert read_yaml(path) == {"header": ["a", "b"], "url": "x"}


def test_only_the_url_is_needed() -> None:
    config = resolve({"url": URL})
    assert (config.mode, config.concurrency, config.requests, config.endpoint) == ("concurrency", 10, None, "chat")
    assert (config.duration, config.warmup) == (60.0, "auto")
    assert (config.input_tokens, config.output_tokens) == ("1024", "128")


def test_the_mode_follows_from_the_flags() -> None:
    assert resolved(rate="5").mode == "rate"
    assert resolved(concurrency="5").mode == "concurrency"


def test_the_arrivals_follow_from_the_burstiness() -> None:
    assert resolved(rate="5").arrivals == "poisson"
    assert resolved(rate="5", burstiness="0.5").arrivals == "gamma"
    assert resolved(rate="5", arrivals="constant").arrivals == "constant"


@pytest.mark.parametrize(
    ("flags", "length"),
    [
        ({"rate": "5"}, (None, 60.0, "auto")),
        ({"rate": "5", "warmup": "0"}, (None, 60.0, "0")),
        ({"warmup": "3s"}, (None, 60.0, "3s")),
        ({"requests": "5"}, (5, None, "0")),
        ({"duration": "5"}, (None, 5.0, "0")),
        ({"duration": "5", "warmup": "auto"}, (None, 5.0, "auto")),
        ({"until": ["ttft:p90=10%"]}, (None, 600.0, "0")),
        ({"mode": "sessions"}, (100, None, "0")),
        ({"mode": "sessions", "rate": "1"}, (100, None, "0")),
        ({"steps": "1,2:5s"}, (None, None, "0")),
        ({"mode": "throughput", "requests": "9"}, (9, None, "0")),
        ({"dataset": "FILE"}, (100, None, "0")),
        ({"dataset": "FILE", "duration": "9s", "warmup": "auto"}, (None, 9.0, "auto")),
    ],
)
def test_only_a_load_without_an_end_of_its_own_has_a_default_length_in_time(
    flags: dict[str, Any], length: tuple[int | None, float | None, str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "hello"}\n')
    config = resolved(**{key: str(rows) if value == "FILE" else value for key, value in flags.items()})
    assert (config.requests, config.duration, config.warmup) == length
    again = RunConfig.stored(config.public())
    assert (again.requests, again.duration, again.warmup) == length
    assert again.length == config.length


@pytest.mark.parametrize(
    ("warmup", "requests", "seconds", "finds"),
    [
        ("0", 0, 0.0, False),
        ("7", 7, 0.0, False),
        ("1.5s", 0, 1.5, False),
        ("2m", 0, 120.0, False),
        ("auto", 0, 0.0, True),
    ],
)
def test_a_warm_up_is_requests_or_a_time_or_found(warmup: str, requests: int, seconds: float, finds: bool) -> None:
    config = resolved(concurrency="1", duration="300s", warmup=warmup)
    assert (config.warmup_requests, config.warmup_s, config.finds_warmup) == (requests, seconds, finds)


def test_a_run_of_the_default_length_can_be_made_again_with_a_number_of_requests() -> None:
    stored = given_again(resolved(concurrency=4).public())
    assert (stored["duration"], stored["warmup"]) == (60.0, "auto")
    again = resolve({"requests": "20"}, stored, "run.yaml")
    assert (again.requests, again.duration, again.warmup) == (20, 60.0, "0")
    for asked in ({"warmup": "auto"}, {"warmup": "auto", "duration": "60s"}):
        with pytest.raises(UsageError, match="--warmup auto needs a length in time, not --requests"):
            resolve({"requests": "20"}, {"url": "http://h", "concurrency": 4, **asked}, "mine.yaml")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"requests": "9"}, "--warmup auto needs a length in time, not --requests"),
        ({"requests": "9", "duration": "9s"}, "--warmup auto needs a length in time, not --requests"),
        (
            {"mode": "sessions", "duration": "9s"},
            "--warmup auto is for --mode concurrency and rate, and this is mode sessions",
        ),
        ({"mode": "throughput", "max_concurrency": "2", "duration": "9s"}, "and this is mode throughput"),
        ({"steps": "1,2:5s"}, "--steps needs a --warmup in time"),
        ({"dataset": "FILE"}, "with a file in --dataset, --warmup auto needs --duration"),
    ],
)
def test_a_warm_up_is_found_only_where_a_load_stays_for_a_time(
    flags: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "hello"}\n')
    given: dict[str, Any] = {key: str(rows) if value == "FILE" else value for key, value in flags.items()}
    found = problems(None, "", warmup="auto", **given)
    assert len(found) == 1
    assert sentence in found[0]


def test_a_duration_takes_the_place_of_the_default_number_of_requests() -> None:
    assert resolved(duration="30s").requests is None
    assert (resolved(duration="30s", requests="5").requests, resolved(duration="30s").duration) == (5, 30.0)


def test_the_endpoint_follows_from_the_url() -> None:
    assert resolve({"url": f"{URL}/v1/completions"}).endpoint == "completions"
    assert resolve({"url": f"{URL}/v1/chat/completions/"}).endpoint == "chat"


def test_a_data_set_keeps_its_own_output_lengths_unless_they_are_asked_for(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    assert resolved(dataset=str(rows)).output_tokens is None
    assert resolved(dataset=str(rows), output_tokens="128").output_tokens == "128"


def test_warm_up_is_a_number_or_a_time() -> None:
    by_number, by_time = resolved(warmup="20"), resolved(warmup="20s")
    assert (by_number.warmup_requests, by_number.warmup_s) == (20, 0.0)
    assert (by_time.warmup_requests, by_time.warmup_s) == (0, 20.0)


def test_flags_win_over_the_file() -> None:
    config = resolve({"url": URL, "seed": "3"}, {"seed": 1, "requests": 7}, "load.yaml")
    assert (config.seed, config.requests) == (3, 7)


def test_the_public_configuration_has_no_secret() -> None:
    config = resolve(
        {
            "url": f"https://user:{SECRET}@host:1/v1?key={SECRET}",
            "api_key": SECRET,
            "header": [f"Authorization: Bearer {SECRET}", f"X-Key: {SECRET}"],
            "extra_body": {"api_key": SECRET, "max_tokens": 5, "auth": {"user": SECRET}},
        }
    )
    told = config.public()
    assert SECRET not in str(told)
    assert (told["api_key"], told["header"]) == ("***", ["Authorization: ***", "X-Key: ***"])
    assert told["url"] == "https://***@host:1/v1?key=***"
    assert told["extra_body"] == {"api_key": "***", "max_tokens": 5, "auth": {"user": "***"}}
    assert SECRET not in repr(config.api_key)


def test_what_differs_from_the_defaults_is_kept_apart() -> None:
    config = resolve({"url": "http://127.0.0.1:1", "rate": 3, "duration": "30s", "out": "x", "quiet": True})
    changed = config.changed()
    assert {key: changed[key] for key in ("url", "rate", "duration")} == {
        "url": "http://127.0.0.1:1", "rate": 3.0, "duration": 30.0
    }  # fmt: skip
    assert changed.keys() <= {"url", "endpoint", "mode", "rate", "arrivals", "duration", "output_tokens"}
