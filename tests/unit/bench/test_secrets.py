"""What is secret never leaves: in texts, URLs and command lines it becomes ***."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.secrets import MASK, public_command, public_url, redactor, secrets_of

KEY = "sk-abcdef123456"


def test_a_quoted_secret_is_masked_wherever_it_stands() -> None:
    assert redactor([KEY])(f"Incorrect API key provided: {KEY}. ({KEY})") == "Incorrect API key provided: ***. (***)"


def test_of_two_secrets_one_in_the_other_the_longer_goes_whole() -> None:
    assert redactor(["abcd", "abcdefgh"])("abcdefgh abcd") == "*** ***"


def test_words_too_short_to_be_secrets_stay() -> None:
    assert redactor(["a", "key", ""])("a key to a door") == "a key to a door"


@given(st.lists(st.text(min_size=4, max_size=20).filter(lambda s: s not in MASK), min_size=1), st.text())
def test_after_redaction_no_secret_is_left(secrets: list[str], around: str) -> None:
    # A mask between two halves can make no secret whole again, unless the secret itself holds the mask's stars.
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


def test_a_command_line_is_shown_without_its_secrets() -> None:
    argv = ["run", "--api-key", KEY, f"--api-key={KEY}", "--header", f"Authorization: Bearer {KEY}",
            f"--header=X-Key:{KEY}", "--url", f"http://u:{KEY}@h/?k={KEY}", f"--url=http://{KEY}@h", "--rate"]  # fmt: skip
    told = public_command(argv)
    assert KEY not in " ".join(told)
    assert told == ["run", "--api-key", "***", "--api-key=***", "--header", "Authorization: ***",
                    "--header=X-Key: ***", "--url", "http://***@h/?k=***", "--url=http://***@h", "--rate"]  # fmt: skip
