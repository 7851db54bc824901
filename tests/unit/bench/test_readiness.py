"""When a run considers a server to be starting, and which models it requests before the load."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from bench import readiness
from bench.calibrate.remote import TIMEOUT_S, _why
from bench.config import RunConfig, resolve
from bench.endpoints.interface import BodyOptions
from bench.errors import TargetError, UsageError
from bench.readiness import _reason, _shown, is_starting, models_of_run
from bench.records import Outcome
from bench.target.probe import ProbeResult
from bench.transport.several import SeveralTargets
from promptset.samples import Sample
from tests.support.made_records import made_record


@pytest.mark.parametrize(
    ("record", "listed", "starting"),
    [
        *(({"outcome": Outcome.HTTP_ERROR, "status": status}, ["m"], True) for status in (429, 502, 503, 504, 529)),
        *(({"outcome": Outcome.HTTP_ERROR, "status": status}, None, False) for status in (400, 401, 405, 500)),
        ({"outcome": Outcome.HTTP_ERROR, "status": 404}, None, True),
        ({"outcome": Outcome.HTTP_ERROR, "status": 404}, [], False),
        *(({"outcome": outcome}, ["m"], True) for outcome in (
            Outcome.TIMEOUT_CONNECT, Outcome.TIMEOUT_FIRST_BYTE, Outcome.TIMEOUT_IDLE, Outcome.TIMEOUT_TOTAL,
            Outcome.INTERRUPTED, Outcome.RESET, Outcome.CONNECT_ERROR,
        )),
        *(({"outcome": outcome}, None, False) for outcome in (Outcome.OK, Outcome.MALFORMED, Outcome.NO_TOKENS)),
        ({"outcome": Outcome.CONNECT_ERROR, "error": "[SSL: WRONG_VERSION_NUMBER]"}, None, False),
        ({"outcome": Outcome.CONNECT_ERROR, "error": "the proxy p:1 cannot be used: refused"}, None, False),
    ],
)  # fmt: skip
def test_a_server_is_starting_where_a_wait_may_change_its_answer(
    record: dict[str, Any], listed: list[str] | None, starting: bool
) -> None:
    assert is_starting(made_record(0, **{"error": "said", **record}), listed) is starting


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"outcome": Outcome.HTTP_ERROR, "status": 503, "error": "loading"}, "status 503, loading"),
        ({"outcome": Outcome.HTTP_ERROR, "status": 503, "error": None}, "status 503"),
        ({"outcome": Outcome.CONNECT_ERROR, "error": "refused"}, "refused"),
        ({"outcome": Outcome.RESET, "error": None, "sent_ns": None}, "no connection could be made"),
        ({"outcome": Outcome.INTERRUPTED, "error": "interrupted", "sent_ns": None}, "no connection could be made"),
    ],
)
def test_the_reason_is_what_the_server_said_or_how_far_it_came(record: dict[str, Any], words: str) -> None:
    assert _reason(made_record(0, **record)) == words


def source(*ways: Sample, names_models: bool = False) -> Any:
    return SimpleNamespace(ways=ways, names_models=names_models)


CLASSES = Path(__file__).with_name("two_classes.yaml")
TO_A, TO_B = Sample(prompt="p", model="a"), Sample(body={"model": "b"})


@pytest.mark.parametrize(
    ("settings", "ways", "usual", "models"),
    [
        ({}, (), "m", ()),
        ({}, (TO_A,), None, ()),
        ({}, (TO_A,), "m", ("a", "m")),
        ({}, (TO_A,), "a", ()),
        ({}, (TO_A, TO_B), None, ("a", "b")),
        ({}, (Sample(body={"model": "b"}, model="a"), TO_B), None, ("a", "b")),
        ({"model": "x"}, (TO_A, TO_B), "x", ("a", "x")),  # --model replaces the models of whole bodies.
        ({"model": "x=1,y=3"}, (), None, ("x", "y")),
        ({"model": "x=1,y=3"}, (TO_A,), "x", ("x", "y", "a")),
        # The routes of classes name every model that the classes use.
        ({"model": "x=1,y=3", "mix": str(CLASSES)}, (TO_A, Sample(prompt="p", model="b")), None, ("a", "b")),
    ],
)
def test_the_models_of_a_run_are_those_drawn_and_those_named(
    settings: dict[str, str], ways: tuple[Sample, ...], usual: str | None, models: tuple[str, ...]
) -> None:
    assert models_of_run(source(*ways), resolve({"url": "http://h", **settings}), usual) == models
    if usual == "m" and ways:
        assert models_of_run(source(*ways, names_models=True), resolve({"url": "http://h"}), usual) == ()


def test_an_address_is_shown_with_what_its_name_means_and_without_secrets() -> None:
    config = resolve({"url": "http://me:secret@h:1/v1"})
    assert _shown(config) == "http://h:1/v1/chat/completions"
    place = config.at_address(config.addresses[0].model_copy(update={"address": "10.0.0.3"}))
    assert _shown(place) == "http://h:1/v1/chat/completions (10.0.0.3)"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (TimeoutError("timed out"), f"nothing within {TIMEOUT_S:.0f} s"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("broken"), "broken"),
        (OSError(), "OSError"),
        ("two\n words", "two words"),
        (ValueError(""), "ValueError"),
    ],
)
def test_why_no_mock_answers_is_said_without_words_of_python(reason: object, words: str) -> None:
    assert _why(reason) == words


def test_a_url_in_a_list_has_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.commands.options import resolve_flags

    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    for url, key in (
        ("http://h", "the-key"), (["http://h", "http://g"], "the-key"), (["http://me:pw@h", "http://g"], None),
        ("http://me:pw@h", None), ("http://h/a@b", "the-key"),
    ):  # fmt: skip
        given = resolve_flags({"url": url}, []).api_key
        assert (None if given is None else given.get_secret_value()) == key
    with pytest.raises(UsageError, match="--url"):
        resolve_flags({"url": []}, [])


def found(model: str, *notes: str, is_ready: bool = True) -> ProbeResult:
    return ProbeResult(BodyOptions(endpoint="chat", model=model), notes, made_record(0), is_ready=is_ready)


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (found("m", "a", "b"), found("m", "b", "c"), found("m", "a", "b", "c")),
        # A server that is still starting does not show its models.
        (found("?", "starts", is_ready=False), found("m"), found("m", "starts")),
        (found("m"), found("?", is_ready=False), found("m")),
        (found("?", is_ready=False), found("??", is_ready=False), found("?", is_ready=False)),
        (
            found("m"),
            found("n"),
            TargetError("the addresses list different models first (http://a:1: m; http://b:2: n): name one"),
        ),
        (found("m"), TargetError("b refuses"), TargetError("b refuses")),
        (TargetError("a refuses"), TargetError("b refuses"), TargetError("a refuses\nb refuses")),
        # A defect of ours is not reported as an error of the target.
        (TargetError("a refuses"), ValueError("ours"), ValueError("ours")),
    ],
)
def test_of_several_addresses_each_is_probed_and_the_first_that_is_ready_counts(
    first: ProbeResult | Exception,
    second: ProbeResult | Exception,
    result: ProbeResult | Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = resolve({"url": ["http://a:1", "http://b:2"]})
    asked = []

    async def probe_server(place: RunConfig, own: str, clock: object, run_id: str, source: object) -> ProbeResult:
        asked.append((place.url, own, run_id))
        answer = first if own == "to a" else second
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(readiness, "probe_server", probe_server)
    several: Any = Mock(spec=SeveralTargets, transports=("to a", "to b"))
    unused: Any = None
    probing = readiness.probe_servers(config, several, unused, "run", unused)
    if isinstance(result, Exception):
        with pytest.raises(type(result), match=re.escape(str(result))):
            asyncio.run(probing)
    else:
        assert asyncio.run(probing) == result
    assert asked == [("http://a:1", "to a", "run"), ("http://b:2", "to b", "run-1")]
