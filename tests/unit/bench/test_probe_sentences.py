"""The probe's message if there is no answer or no end of the reply, and if the environment names a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from bench.endpoints.interface import BodyOptions
from bench.proxy import Proxy
from bench.records import Outcome
from bench.target.probe import _diagnose, diagnose
from promptset.samples import Sample
from tests.support.changed import replace
from tests.support.made_records import START_NS, made_record

URL = "https://llm.example:8443/v1/chat/completions"


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def said(url: str = URL, outcome: Outcome = Outcome.CONNECT_ERROR) -> str:
    found = diagnose(
        made_record(0, outcome=outcome, error="Connection refused"),
        url,
        BodyOptions(endpoint="chat", model=None),
        None,
        False,
    )
    assert found is not None
    return found


def test_a_proxy_of_the_environment_is_named_as_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PROXY" not in said()
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:3128")
    assert "connects directly, and not through the proxy of HTTPS_PROXY" in said()
    assert "secret" not in said()
    assert "PROXY" not in said("http://llm.example/v1/chat/completions")
    monkeypatch.setenv("NO_PROXY", "llm.example")
    assert "PROXY" not in said()


def test_a_host_that_does_not_answer_names_the_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert "HTTP_PROXY" in said("http://llm.example/v1/chat/completions", Outcome.TIMEOUT_CONNECT)


def test_a_handshake_without_an_end_is_told_from_a_host_that_does_not_answer() -> None:
    assert said(URL, Outcome.TIMEOUT_CONNECT) == (
        f"cannot connect to {URL}: no TLS handshake in time. Is the host right, and is it an https port?"
    )
    plain = URL.replace("https", "http")
    assert said(plain, Outcome.TIMEOUT_CONNECT) == (
        f"cannot connect to {plain}: no answer in time. Is the host right, and does a firewall let you through?"
    )


@pytest.mark.parametrize(
    ("came", "how_far"),
    [
        ({"sent_ns": None, "first_byte_ns": None}, "no connection could be made"),
        ({"first_byte_ns": None}, "it took the connection and the request, and sent no byte"),
        ({"status": None}, "it sent the beginning of a response, and no whole head"),
        ({"bytes_received": 0}, "it sent the head of a response (status 200), and no body"),
        ({"chunks_ms": ()}, "it sent 1,234 bytes (status 200), and no end"),
        ({}, "it sent 1,234 bytes in 3 events (status 200), and no end"),
    ],
)
def test_a_reply_without_an_end_says_how_far_it_came(came: dict[str, Any], how_far: str) -> None:
    fields: dict[str, Any] = {"status": 200, "bytes_received": 1234, "first_byte_ns": START_NS, **came}
    record = made_record(0, outcome=Outcome.TIMEOUT_IDLE, error="said", **fields)
    sentence = diagnose(record, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence == (
        f"{URL} did not answer in time (said): {how_far}. Is its model loaded yet, and is --idle-timeout long enough?"
    )


@pytest.mark.parametrize(
    ("outcome", "flag"),
    [(Outcome.TIMEOUT_FIRST_BYTE, "--first-byte-timeout"), (Outcome.TIMEOUT_TOTAL, "--timeout")],
)
def test_a_limit_of_time_that_ends_the_probe_is_named_by_its_flag(outcome: Outcome, flag: str) -> None:
    record = made_record(0, outcome=outcome, error="said", chunks_ms=())
    sentence = diagnose(record, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence is not None
    assert f"and is {flag} long enough?" in sentence


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT_FIRST_BYTE, Outcome.TIMEOUT_TOTAL, Outcome.INTERRUPTED])
def test_a_proxy_that_hangs_is_named(outcome: Outcome) -> None:
    error = Proxy("p", 3128).explained(None, "said")
    hangs = made_record(0, outcome=outcome, error=error, status=None, sent_ns=None, first_byte_ns=None)
    assert diagnose(hangs, URL, BodyOptions(endpoint="chat", model=None), None, False) == (
        f"cannot connect to {URL}: no connection through the proxy p:3128 in time. Is the proxy of --proxy right?"
    )
    silent = made_record(0, outcome=outcome, error=error, status=None, first_byte_ns=None)
    sentence = diagnose(silent, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence is not None
    assert "sent no byte. Does the proxy p:3128 work, is the server's model loaded yet, and is " in sentence


@pytest.mark.parametrize("outcome", [Outcome.RESET, Outcome.TRUNCATED])
def test_a_reply_that_breaks_off_after_text_does_not_blame_the_url(outcome: Outcome) -> None:
    record = made_record(0, outcome=outcome, error="said", status=200, bytes_received=1234, first_byte_ns=START_NS)
    sentence = diagnose(record, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence == (
        f"{URL} broke off its reply (said): it sent 1,234 bytes in 3 events (status 200), and no end. "
        "Does the server's log say why?"
    )


SOCKET_URL = "http://127.0.0.1:8000/v1/responses"


@pytest.mark.parametrize(
    ("status", "listed", "authorized", "told", "not_told"),
    [
        pytest.param(403, ["m"], False, "it has none there; leave out --websocket", "key;", id="answers without a key"),
        pytest.param(
            403, None, False, "it has none there, or needs a key; leave out --websocket", "refuses", id="unknown"
        ),
        pytest.param(
            403, ["m"], True, "it has none there, or refuses this key; leave out --", "needs a key", id="a key"
        ),
        pytest.param(404, None, False, "(status 404: said): leave out --websocket", "key", id="not there"),
        pytest.param(405, ["m"], True, "(status 405: said): leave out --websocket", "key", id="another method"),
        pytest.param(
            401, None, False, "the server needs a key (status 401: said)", "--websocket", id="401 is about keys"
        ),
    ],
)
def test_a_handshake_that_is_refused_blames_the_key_only_where_it_may_be_the_cause(
    status: int, listed: list[str] | None, authorized: bool, told: str, not_told: str
) -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=status)
    options = BodyOptions(endpoint="responses", model=None, websocket=True)
    sentence = diagnose(record, SOCKET_URL, options, listed, authorized)
    assert sentence is not None
    assert told in sentence
    assert not_told not in sentence


def test_without_a_websocket_403_is_about_the_key() -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=403)
    sentence = diagnose(record, SOCKET_URL, BodyOptions(endpoint="responses", model=None), ["m"], False)
    assert sentence == "the server needs a key (status 403: said): give it with --api-key or OPENAI_API_KEY"


PLAIN = "http://h/v1/chat/completions"


@pytest.mark.parametrize(
    ("status", "authorized", "model", "endpoint", "begins", "names"),
    [
        (401, False, None, "chat", "the server needs a key (status 401: said)", "--api-key or OPENAI_API_KEY"),
        (403, True, None, "chat", "the server refuses this key (status 403: said)", "--api-key, OPENAI_API_KEY and --head"),
        (400, False, "x", "chat", "the server has no model 'x' (status 400)", "it lists m0, m1, m2, m3, m4, m5, m6, m7, m8"),
        (404, False, "x", "chat", "the server has no model 'x' (status 404)", "it lists m0"),
        (404, False, "m1", "chat", f"{PLAIN} is not there (status 404: said)", "--url takes the server's root"),
        (404, False, None, "chat", f"{PLAIN} is not there (status 404: said)", "check the path"),
        (405, False, "x", "chat", f"{PLAIN} is not there (status 405: said)", "check the path"),
        (429, False, None, "chat", "the server is not taking requests (status 429: said)", "wait until it is ready"),
        (503, False, None, "chat", "the server is not taking requests (status 503: said)", "wait until it is ready"),
        (529, False, None, "chat", "the server is not taking requests (status 529: said)", "wait until it is ready"),
        (500, False, None, "chat", "the server failed (status 500: said)", "its log may say why"),
        (499, False, None, "chat", "the server refuses the request (status 499: said)", "said"),
        (400, False, "m1", "chat", "the server refuses the request (status 400: said)", "said"),
        (204, False, None, "http", f"{PLAIN} answers with status 204 (said)", "--expect status=204"),
        (401, False, None, "messages", "the server needs a key (status 401: said)", "--api-key or ANTHROPIC_API_KEY"),
    ],
)  # fmt: skip
def test_each_status_has_its_sentence(
    status: int, authorized: bool, model: str | None, endpoint: str, begins: str, names: str
) -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=status)
    listed = [f"m{n}" for n in range(11)]
    sentence = diagnose(record, PLAIN, BodyOptions(endpoint=endpoint, model=model), listed, authorized)
    assert sentence is not None
    assert sentence.startswith(begins)
    assert names in sentence
    assert "m10" not in sentence


@pytest.mark.parametrize(("status", "said", "tls"), [(400, "sent to an HTTPS port", True), (401, "to an HTTPS port", False),
                                                    (400, "bad", False), (400, None, False)])  # fmt: skip
def test_an_https_port_that_answers_in_plain_words_is_recognized(status: int, said: str | None, tls: bool) -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error=said, status=status)
    sentence = diagnose(record, PLAIN, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence is not None
    assert (f"{PLAIN} wants TLS (status {status}: {said}): give its URL with https://" in sentence) is tls


@pytest.mark.parametrize(
    ("outcome", "url", "said", "sentence"),
    [
        (Outcome.CONNECT_ERROR, PLAIN, "the proxy p:1 cannot be used: x", "the proxy p:1 cannot be used: x"),
        (Outcome.HTTP_ERROR, PLAIN, "the proxy p:1 wants a user", "the proxy p:1 wants a user"),
        (Outcome.TIMEOUT_CONNECT, PLAIN, "no answer of the proxy p:1",
         f"cannot connect to {PLAIN}: no answer of the proxy p:1. Is the proxy of --proxy right?"),
        (Outcome.STREAM_ERROR, PLAIN, "x", "the server answered with an error inside the stream: x"),
        (Outcome.RESET, PLAIN, "x", f"{PLAIN}: x. Does an http:// URL point at an https:// port?"),
        (Outcome.RESET, URL, "x", f"{URL}: x. Does the URL point at an http:// port, or does the server want a client "
         "certificate (--client-cert), or refuse the one that it gets?"),
        (Outcome.RESET, URL, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13",
         f"{URL} refuses the TLS handshake (certificate required): it wants a client certificate that it trusts; "
         "give it with --client-cert and --client-key"),
        (Outcome.CONNECT_ERROR, URL, "[SSL: TLSV1_ALERT_UNKNOWN_CA]",
         f"{URL} refuses the TLS handshake (unknown ca): it wants a client certificate that it trusts; "
         "give it with --client-cert and --client-key"),
        *((Outcome.CONNECT_ERROR, URL, f"[SSL: {word}]", f"{URL} does not speak TLS: give its URL with http:// instead of "
           "https://") for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")),
        (Outcome.CONNECT_ERROR, URL, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_ssl.c:1)",
         f"the certificate of {URL} is not trusted (self-signed): give the authority that signed it with --ca-file, or check "
         "nothing with --insecure"),
        (Outcome.CONNECT_ERROR, URL, "CERTIFICATE_VERIFY_FAILED", f"the certificate of {URL} is not trusted (it cannot be "
         "checked): give the authority that signed it with --ca-file, or check nothing with --insecure"),
        *((Outcome.CONNECT_ERROR, URL, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {why}. (_ssl.c:1)",
           f"the certificate of {URL} is not trusted ({why}): {cure}, or check nothing with --insecure")
          for why, cure in (("IP address mismatch, certificate is not valid for '::1'",
                             "give the URL with the name that the certificate is for"),
                            ("Hostname mismatch, certificate is not valid for 'a'",
                             "give the URL with the name that the certificate is for"),
                            ("certificate has expired", "give the server a new one"),
                            ("certificate is not yet valid", "check the clock of this machine"))),
        (Outcome.CONNECT_ERROR, URL, "ALERT_CLOSE", f"cannot connect to {URL}: ALERT_CLOSE. Is the server running there, and "
         "are its host and port right?"),
        (Outcome.MALFORMED, PLAIN, "x", f"the reply of {PLAIN} is not what an OpenAI-compatible server sends: x. "
         "Are the port and the path those of its API?"),
        (Outcome.NO_TOKENS, PLAIN, "x",
         "the server answered, but no chunk has text in 1,600 tokens (x). Does the model answer at all?"),
    ],
)  # fmt: skip
def test_each_outcome_has_its_sentence(outcome: Outcome, url: str, said: str, sentence: str) -> None:
    record = made_record(0, outcome=outcome, error=said, output_tokens_asked=1600)
    assert diagnose(record, url, BodyOptions(endpoint="chat", model=None), None, False) == sentence


@pytest.mark.parametrize(
    ("stream", "record", "says"),
    [
        (True, {}, None),
        (False, {"chunk_ns": (), "chunk_kind": ""}, None),
        (True, {"chunk_ns": (), "chunk_kind": ""}, "the server does not stream"),
        (True, {"chunk_kind": "nnn"}, "no chunk has text: TTFT cannot be measured"),
        (False, {"chunk_kind": "nnn"}, None),
    ],
)
def test_a_good_reply_must_be_a_stream_of_text_where_one_was_asked_for(
    stream: bool, record: dict[str, Any], says: str | None
) -> None:
    sentence = diagnose(
        replace(made_record(0), **record), PLAIN, BodyOptions(endpoint="chat", model=None, stream=stream), None, False
    )
    assert (sentence is None) if says is None else (sentence is not None and says in sentence)


def test_a_clip_without_speech_has_a_stream_without_text() -> None:
    silent = replace(made_record(0), chunk_kind="oo", chunk_ns=(5, 6))
    options = BodyOptions(endpoint="transcriptions", model=None)
    assert diagnose(silent, PLAIN, options, None, False) is None


@pytest.mark.parametrize(
    ("headers", "begins"),
    [
        ((("x", "y"), ("Authorization", "k")), "the server refuses this key"),
        ((("x-api-key", "k"), ("x", "y")), "the server refuses this key"),
        ((("x", "y"),), "the server needs a key"),
    ],
)
def test_a_row_may_bring_its_own_key(headers: tuple[tuple[str, str], ...], begins: str) -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=401)
    sample = Sample(prompt="p", headers=headers)
    sentence = _diagnose(record, sample, PLAIN, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence is not None
    assert sentence.startswith(begins)


def test_a_row_that_goes_elsewhere_is_named_by_where_it_goes() -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=404)
    sample, options = Sample(prompt="p", endpoint="completions"), BodyOptions(endpoint="chat", model="m0")
    sentence = _diagnose(record, sample, PLAIN, options, ["m0"], False)
    assert sentence is not None
    assert sentence.startswith("http://h/v1/completions is not there")
    sentence = _diagnose(record, Sample(prompt="p", model="x"), PLAIN, options, ["m0"], False)
    assert sentence == "the server has no model 'x' (status 404): it lists m0"
