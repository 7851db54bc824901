"""Secrets are never shown: in texts, URLs and command lines they become ***."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.secrets import (
    MASK,
    is_secret_name,
    public_body,
    public_command,
    public_text,
    public_url,
    redactor,
    secrets_of,
    shown_url,
    without_secrets_of,
)
from bench.traffic.classes import masked
from tests.support.configurations import problems, resolved

KEY = "sk-abcdef123456"


def test_a_quoted_secret_is_masked_wherever_it_stands() -> None:
    assert redactor([KEY])(f"Incorrect API key provided: {KEY}. ({KEY})") == "Incorrect API key provided: ***. (***)"


def test_of_two_secrets_one_in_the_other_the_longer_goes_whole() -> None:
    assert redactor(["abcd", "abcdefgh"])("abcdefgh abcd") == "*** ***"


def test_words_too_short_to_be_secrets_stay() -> None:
    assert redactor(["a", "key", ""])("a key to a door") == "a key to a door"


@given(st.lists(st.text(min_size=4, max_size=20).filter(lambda s: s not in MASK), min_size=1), st.text())
def test_after_redaction_no_secret_is_left(secrets: list[str], around: str) -> None:
    # A mask between two halves cannot complete a secret, unless the secret itself contains the mask's stars.
    secrets = [s for s in secrets if "*" not in s]
    text = redactor(secrets)(around + around.join(secrets) + around)
    assert not any(secret in text for secret in secrets)


def test_every_secret_of_a_target_is_known() -> None:
    found = secrets_of(
        "https://the-user:the-password@host/v1?token=the-token&empty=",
        [("Authorization", "Bearer the-bearer"), ("X-Key", "the-key")],
        "the-api-key",
    )
    assert {"the-user", "the-password", "the-token", "the-bearer", "the-key", "the-api-key"} <= set(found)
    assert "" not in found


def test_a_target_without_secrets_has_none() -> None:
    assert secrets_of("http://host:8000/v1", [], None) == []


def test_a_url_is_shown_without_user_password_and_query_values() -> None:
    assert public_url("https://u:p@host:8443/v1/x?token=abc&n=&token=d") == (
        "https://***@host:8443/v1/x?token=***&n=***&token=***"
    )
    assert public_url("http://[::1]:8000/v1") == "http://[::1]:8000/v1"
    assert public_url(f"http://h/v1?{KEY}&a") == "http://h/v1?***&***"
    assert KEY in secrets_of(f"http://h/v1?{KEY}", [], None)


def test_a_command_line_is_shown_without_its_secrets() -> None:
    argv = ["run", "--api-key", KEY, f"--api-key={KEY}", "--header", f"Authorization: Bearer {KEY}",
            f"--header=X-Key:{KEY}", "--url", f"http://u:{KEY}@h/?k={KEY}", f"--url=http://{KEY}@h", "--rate"]  # fmt: skip
    told = public_command(argv)
    assert KEY not in " ".join(told)
    assert told == ["run", "--api-key", "***", "--api-key=***", "--header", "Authorization: ***",
                    "--header=X-Key: ***", "--url", "http://***@h/?k=***", "--url=http://***@h", "--rate"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://u:KEY@h/v1?key=KEY", "ftp://***@h/v1?***"),
        ("u:KEY@h/v1?key=KEY", "***@h/v1?***"),
        ("h/v1?key=a@KEY", "h/v1?***"),
        ("ftp://[h/?KEY", "ftp://[h/?***"),
        ("http://u:KEY@h/?k=KEY", "http://***@h/?k=***"),
        ("localhost:8000", "localhost:8000"),
        ("http:/host", "http:/host"),
        ("https:host/v1?k=KEY", "https:host/v1?***"),
        ("http:/u:KEY@h", "***@h"),
        *[
            (f"{scheme}u:KE{sign}Y@h:1/a", f"{scheme}***@h:1/a")
            for scheme in ("http://", "s3://", "")
            for sign in "/?#@"
        ],
    ],
)
def test_of_what_is_no_url_nothing_secret_is_shown(text: str, shown: str) -> None:
    assert shown_url(text) == shown


def test_a_secret_of_a_url_is_known_in_each_way_in_which_it_may_be_quoted() -> None:
    found = secrets_of("https://us%65r:p%40ss@host/v1?token=a%2Fb", [], None)
    assert {"us%65r", "user", "p%40ss", "p@ss", "dXNlcjpwQHNz", "a%2Fb", "a/b"} <= set(found)


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "API-Key", "apikey", "key", "token", "hf_token", "accessToken", "Authorization", "password",
     "db-password", "client_secret", "aws_secret_access_key", "credentials", "auth"],
)  # fmt: skip
def test_a_name_says_that_its_value_is_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "tokens", "eos_token", "min_tokens", "stop_token_ids", "tokenizer", "cache_key", "prompt_cache_key",
     "model", "author", "monkey", "compass", ""],
)  # fmt: skip
def test_a_name_that_only_looks_like_one_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_a_body_is_shown_with_its_secrets_masked_at_any_depth() -> None:
    body = {"max_tokens": 5, "api_key": KEY, "tools": [{"auth": {"user": KEY, "on": True, "port": 1}, "name": "a"}]}
    assert public_body(body) == {
        "max_tokens": 5,
        "api_key": MASK,
        "tools": [{"auth": {"user": MASK, "on": True, "port": MASK}, "name": "a"}],
    }


def test_an_echo_of_a_secret_of_the_body_is_masked() -> None:
    body = b'{"max_tokens": 5, "metadata": {"hf_token": "sk-abcdef123456"}}'
    assert without_secrets_of(body, f"bad field {KEY}, max_tokens 5") == "bad field ***, max_tokens 5"
    assert without_secrets_of(b'{"Password": "sk-abcdef123456"}', f"quotes {KEY}") == "quotes ***"
    assert without_secrets_of(b'{"model": "m"}', f"quotes {KEY}") == f"quotes {KEY}"
    assert without_secrets_of(b"token {", "as it is") == "as it is"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (f'{{"a": 1, "auth": {{"user": "{KEY}"}}}}', '{"a":1,"auth":{"user":"***"}}'),
        (f'{{"api_key": "{KEY}", "n": {{{{ number }}}}, "a": "b"}}', '{"api_key": "***", "n": {{ number }}, "a": "b"}'),
        (f"user=a&password={KEY}&max_tokens=5", "user=a&password=***&max_tokens=5"),
        ('{"a": "***", "max_tokens": 5}', None),
        ("a plain text: token = 5", None),
        ("@body.json", None),
    ],
)
def test_the_body_of_any_service_is_shown_without_its_secrets(body: str, shown: str | None) -> None:
    public = body if shown is None else shown
    assert public_text(body) == public
    assert public_command(["--body", body, f"--body-template={body}"]) == [
        "--body",
        public,
        f"--body-template={public}",
    ]
    config = resolved(endpoint="http", body=body) if not body.startswith("@") else None
    assert config is None or config.public()["body"] == public
    rows = [{"name": "a", "share": 1, "body": body}]
    assert masked({"classes": rows})["classes"][0]["body"] == public
    if shown is not None:
        assert problems(endpoint="http", body=shown) == [
            "--body: it was stored without its secrets (***): give it again"
        ]


def test_the_password_in_the_url_of_a_tokenizer_is_not_shown() -> None:
    url = f"http://u:{KEY}@h:1/v1"
    assert resolved(tokenizer=url).public()["tokenizer"] == "http://***@h:1/v1"
    words = ["--tokenizer", url, "--tokenizer=C:\\a#b"]
    assert public_command(words) == ["--tokenizer", "http://***@h:1/v1", "--tokenizer=C:\\a#b"]


def test_a_command_line_is_shown_without_the_secrets_of_extra_body() -> None:
    fields = '{"top_p": 0.9, "api_key": "sk-abcdef123456"}'
    assert public_command(["--extra-body", fields]) == ["--extra-body", '{"top_p":0.9,"api_key":"***"}']
    assert public_command(["--extra-body", '{"top_p": 0.9}']) == ["--extra-body", '{"top_p": 0.9}']
    assert public_command([f"--extra-body={KEY}"]) == ["--extra-body=***"]
