"""The form of a task comes from the declaration of the settings, and problems appear beside their fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.config import Settings, resolve
from bench.console import settings_form
from bench.console.data_files import DataFiles
from bench.console.errors import ConsoleError, Refused
from bench.console.form_words import of_mode, plain
from bench.console.kinds import KINDS
from bench.console.load_templates import TEMPLATES
from bench.console.pages.site import number, setting
from bench.endpoints import ENDPOINTS
from bench.endpoints.definition import shipped

GOOD = {"url": "http://127.0.0.1:8000"}


def refused(settings: dict[str, object], tmp_path: Path) -> dict[str | None, str]:
    with pytest.raises(Refused) as raised:
        settings_form.check({**GOOD, **settings}, {}, DataFiles(tmp_path))
    return dict(raised.value.problems)


def test_every_setting_has_a_field() -> None:
    names = {field.name for field in settings_form.fields()}
    assert names == Settings.model_fields.keys() - set(settings_form.LEFT_OUT)
    by_name = {field.name: field for field in settings_form.fields()}
    assert by_name["endpoint"].choices == tuple(name for name in (*ENDPOINTS, *shipped()) if name != "http")
    assert by_name["history"].choices == ("real", "planned", "stored")
    assert (by_name["stream"].kind, by_name["stream"].default) == ("switch", "on")
    assert by_name["slo"].kind == "lines"
    assert (by_name["dataset"].kind, by_name["input_tokens"].default) == ("text", "1024")


def test_what_is_typed_is_given_and_what_is_empty_is_not() -> None:
    form = {"concurrency": " 8 ", "rate": "", "slo": "ttft:p99<1s\n\n e2el:p90<2s", "stream": "on", "ignore_eos": "on"}
    assert settings_form.typed(form) == {
        "concurrency": "8",
        "slo": ["ttft:p99<1s", "e2el:p90<2s"],
        "ignore_eos": True,
    }
    assert settings_form.typed({})["stream"] is False


def test_several_addresses_are_typed_one_on_a_line_and_one_is_a_text(tmp_path: Path) -> None:
    both = ["http://h:1", "http://h:2=3"]
    assert settings_form.typed({"url": "http://h:1\n\n http://h:2=3 "})["url"] == both
    assert settings_form.typed({"url": "http://h:1\n"})["url"] == "http://h:1"
    assert settings_form.check({"url": both, "rate": "5"}, {}, DataFiles(tmp_path))["url"] == both
    assert refused({"url": ["http://h:1", "http://h:1"]}, tmp_path).keys() == {"url"}
    # If the console read a file of addresses, the load would go to them.
    (tmp_path / "addresses").write_text("http://h:1\nhttp://h:2\n")
    file = f"@{tmp_path / 'addresses'}"
    for url in (file, [file], ["http://h:3", file], [{"url": file}]):
        assert "would be one of this machine" in refused({"url": url}, tmp_path)["url"]


def test_every_problem_stands_beside_its_field(tmp_path: Path) -> None:
    found = refused({"concurrency": "many", "input_tokens": "-3", "duration": "soon", "out": "/x"}, tmp_path)
    assert {"concurrency", "input_tokens", "duration", "out"} <= found.keys()
    assert "whole number" in found["concurrency"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("dataset", "/etc/passwd"), ("dataset", "../../x.jsonl"), ("tools", "/etc/passwd"), ("mix", "/etc/passwd"),
     ("ca_file", "/etc/ssl/x.pem"), ("tokenizer", "/root"), ("tokenizer", "../models"), ("tokenizer", "a" * 5_000),
     ("url", "http://user:pw@h:1"), ("url", "http://h:1?key=1"), ("url", "@/etc/passwd"),
     ("url", ["http://h:1", "@/etc/passwd"]), ("url", ["http://h:1", {"url": "@/etc/passwd"}]),
     ("url", ["http://h:1", "http://user:pw@h:2"]), ("targets", [{"url": "http://evil:1"}]),
     ("tokenizer", "http://user:pw@h:1"), ("tokenizer", "http://h:1/?key=1"), ("otlp", "http://user:pw@h:1"),
     ("server_metrics", ["http://h:1/metrics", "http://user:pw@h:1"]), ("server_metrics", ["http://h:1/?key=1"]),
     ("gpu_metrics", "http://user:pw@h:1"),
     ("extra_body", '{"api_key": "sk-1"}'), ("extra_body", {"n": 1, "a": ["x", {"api_key": "sk-1"}]}),
     ("api_key", "sk-1"), ("header", ["X: y"])],
)  # fmt: skip
def test_files_of_the_machine_and_secrets_are_refused(setting: str, value: object, tmp_path: Path) -> None:
    assert setting in refused({setting: value}, tmp_path)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("http://user:pw@h:1", True),
        ("http://user@h", True),
        ("http://user:pa/ss@h", True),
        ("http://h:1/models/m@2", False),
    ],
)
def test_a_user_in_a_url_is_seen_even_if_the_password_has_a_slash(url: str, refused: bool) -> None:
    sentences = settings_form._secrets_in_url(url)
    assert [sentence.startswith("a user and a password in the URL") for sentence in sentences] == [True] * refused


def test_a_body_without_a_secret_is_taken(tmp_path: Path) -> None:
    body = {"temperature": 0, "stop": ["x", 1], "user": None, "key_of": {"a": "b"}}
    assert settings_form.check({**GOOD, "extra_body": body}, {}, DataFiles(tmp_path))["extra_body"] == body


def test_an_uploaded_file_and_a_recipe_are_data(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    settings = settings_form.check({**GOOD, "dataset": "mine.jsonl", "output_tokens": "4"}, {}, files)
    assert settings["dataset"] == str(tmp_path / "mine.jsonl")
    assert settings_form.check({**GOOD, "dataset": "azure-2023-code"}, {}, files)["dataset"] == "azure-2023-code"


def test_bad_rows_of_a_small_data_file_stand_beside_its_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n[1]\n' + b'{"prompt": 5}\n' * 9)
    given = {**GOOD, "dataset": "mine.jsonl"}
    for kind, more in (("run", {}), ("sweep", {"loads": "rate=1,2"})):
        with pytest.raises(Refused) as refused_rows:
            settings_form.check({**given, **more}, {}, files, kind)
        assert len(refused_rows.value.problems) == 5
        assert refused_rows.value.problems[0] == ("dataset", "mine.jsonl, line 2: not a JSON object")
    assert settings_form.check({**given, "bad_rows": "skip"}, {}, files)
    monkeypatch.setattr(settings_form, "_MOST_CHECKED_BYTES", 10)
    assert settings_form.check(given, {}, files)


MIX = b"""
classes:
  - {name: chat, share: 3, input_tokens: 64}
  - {name: rows, share: 1, dataset: mine.jsonl}
  - {name: code, share: 1, dataset: azure-2023-code}
"""


def test_an_uploaded_mix_names_uploaded_files(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    files.add("mix.yaml", MIX)
    settings = settings_form.check({**GOOD, "mix": "mix.yaml"}, {}, files)
    assert [row.get("dataset") for row in settings["mix"]["classes"]] == [
        None,
        str(tmp_path / "mine.jsonl"),
        "azure-2023-code",
    ]
    assert [one.name for one in resolve({}, settings).classes] == ["chat", "rows", "code"]


def test_bad_rows_of_a_class_are_named_with_it(tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n[1]\n')
    files.add("mix.yaml", MIX)
    with pytest.raises(Refused) as refused_rows:
        settings_form.check({**GOOD, "mix": "mix.yaml"}, {}, files)
    [(field, problem)] = refused_rows.value.problems
    assert field == "mix"
    assert problem.startswith("class rows: dataset: mine.jsonl, line 2: not a JSON object")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no uploaded file 'mix.yaml': upload it under Data first"),
        (MIX.replace(b"mine.jsonl", b"/etc/passwd"), "class rows: dataset: there is no uploaded file '/etc/passwd'"),
        (MIX.replace(b"share: 3", b"share: 3, headers: {Authorization: sk-1}"), "class chat: headers would be stored"),
        (MIX.replace(b"share: 3", b"share: none"), "class chat: share: must be a number"),
        (MIX.replace(b"input_tokens: 64", b"input_tokens: 0"), "class chat: input_tokens: 0 is too small"),
    ],
)
def test_what_is_wrong_with_a_mix_stands_beside_its_field(content: bytes | None, problem: str, tmp_path: Path) -> None:
    files = DataFiles(tmp_path)
    files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    if content is not None:
        files.add("mix.yaml", content)
    with pytest.raises(Refused) as raised:
        settings_form.check({**GOOD, "mix": "mix.yaml"}, {}, files)
    assert [field for field, _ in raised.value.problems] == ["mix"]
    assert problem in raised.value.problems[0][1]


@pytest.mark.parametrize("key", TEMPLATES)
def test_every_template_can_be_started(key: str, tmp_path: Path) -> None:
    settings_form.check({**GOOD, **TEMPLATES[key].settings}, {}, DataFiles(tmp_path), TEMPLATES[key].kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_a_kind_has_its_options_and_not_what_it_answers_itself(kind: str) -> None:
    form, names = KINDS[kind], [field.name for field in settings_form.fields(kind)]
    assert names[: len(form.options)] == [option.name for option in form.options]
    assert not {*names} & {*form.left_out}
    assert len(names) == len({*names})


def test_options_of_a_search_are_read_from_their_declaration() -> None:
    by_name = {field.name: field for field in settings_form.fields("search")}
    assert by_name["load"].choices == ("rate", "concurrency", "sessions")
    assert (by_name["budget"].default, by_name["precision"].default) == ("15m", "10%")
    typed = settings_form.typed({"budget": "3m", "stream": "on", "rate": "5"}, "search")
    assert typed == {"budget": "3m"}


@pytest.mark.parametrize(
    ("kind", "settings", "beside"),
    [("search", {"budget": "1s", "output_tokens": "none"}, {"budget", "output_tokens", "slo"}),
     ("search", {"slo": ["ttft:p99<1s"], "start": "5", "max": "2"}, {"start"}),
     ("sweep", {"gpus": "many"}, {"loads", "gpus"})],
)  # fmt: skip
def test_problems_of_a_search_and_a_sweep_stand_beside_their_fields(
    kind: str, settings: dict[str, object], beside: set[str | None], tmp_path: Path
) -> None:
    with pytest.raises(Refused) as raised:
        settings_form.check({**GOOD, **settings}, {}, DataFiles(tmp_path), kind)
    assert {field for field, _ in raised.value.problems} == beside


def test_secrets_have_fields_of_their_own() -> None:
    assert settings_form.secrets_of(" sk-1 ", "X-Tenant: blue\n") == {"api_key": "sk-1", "header": ["X-Tenant: blue"]}
    assert settings_form.secrets_of("", None) == {}
    with pytest.raises(ConsoleError, match="NAME: VALUE"):
        settings_form.secrets_of(None, "nothing")


def test_a_setting_is_shown_as_a_person_would_write_it() -> None:
    assert setting(["ttft:p90<500ms", "error_rate<1%"]) == "ttft:p90<500ms, error_rate<1%"
    assert [setting(value) for value in (True, False, 8, "uniform:1..5")] == ["yes", "no", "8", "uniform:1..5"]


def test_a_number_has_its_digits_that_count() -> None:
    values = {
        None: "–",
        1234.5: "1,234",
        1000: "1,000",
        -1000: "-1,000",
        999.9: "999.9",
        100: "100",
        12.345: "12.3",
        0: "0",
    }
    assert {value: number(value) for value in values} == values


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_has_no_words_of_the_command_line(kind: str) -> None:
    for field in settings_form.fields(kind):
        text = f"{field.label} {field.doc} {field.default}"
        assert re.search(r"--\w|\bexit \d|python -m|may be repeated", text) is None, f"{field.name}: {text}"


@pytest.mark.parametrize(
    ("sentence", "field", "said"),
    [
        ("--duration: must be a time", "duration", "must be a time"),
        ("--concurrency does not go with --rate", "rate", "“Users” does not go with “Requests per second”"),
        ("--url is missing: for example --url http://h:1", None, "“URL” is missing: for example http://h:1"),
        ("an objective; exit 1 if it fails; may be repeated", None, "an objective; the task fails if it fails"),
    ],
)
def test_a_sentence_of_the_command_line_is_one_of_the_form(sentence: str, field: str | None, said: str) -> None:
    assert plain(sentence, field) == said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ({"mode": "rate", "rate": "5", "concurrency": "10"}, {"rate": "5"}),
        ({"mode": "concurrency", "rate": "5", "concurrency": "10"}, {"concurrency": "10"}),
        ({"mode": "throughput", "rate": "5", "requests": "10"}, {"mode": "throughput", "requests": "10"}),
        ({"mode": "sessions", "rate": "5"}, {"mode": "sessions", "rate": "5"}),
        ({"mode": "rate"}, {"mode": "rate"}),
        ({"rate": "5", "concurrency": "10"}, {"rate": "5", "concurrency": "10"}),
    ],
)
def test_what_was_typed_for_another_mode_is_not_meant(typed: dict[str, str], meant: dict[str, str]) -> None:
    assert of_mode(typed) == meant


def test_a_default_is_shown_as_it_is_typed_and_no_default_as_nothing() -> None:
    found = {field.name: field.default for field in settings_form.fields("run")}
    assert {"None", "()", "PydanticUndefined", "True", "False"}.isdisjoint(map(str, found.values()))
    assert [settings_form._written(value) for value in (True, False, None, (), 0.5, 3.0, 7, "chat")] == [
        "on", "off", "", "", "0.5", "3", "7", "chat",
    ]  # fmt: skip
