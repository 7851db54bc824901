"""A key is sent only to the scheme, host and port of its target. A task whose key is gone asks for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from starlette.testclient import TestClient

from bench.console import plan as plans
from bench.console.app import create_app
from bench.console.errors import Conflict, Refused
from bench.console.security import Keys
from bench.console.service import Console
from bench.console.store import Target
from bench.console.target_keys import KeyVariables, TargetKeys, aimed, origin_of, proxy_problem, tokenizer_problem
from tests.support.console_process import TOKEN

HERE = "http://127.0.0.1:9"
LATER = "2999-01-01T00:00"
HELD = {"OPENAI_API_KEY": "sk-default", "TRUELOAD_KEY_LAB": "sk-lab", "AWS_SECRET": "sk-aws", "PATH": "/bin"}
LAB = TargetKeys("http://lab:80", "TRUELOAD_KEY_LAB", {"X-Tenant": "TRUELOAD_KEY_LAB"})


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELOAD_KEY_LAB", "sk-lab")
    monkeypatch.setenv("AWS_SECRET", "sk-aws")


@pytest.fixture
def lab(console: Console) -> Console:
    """A console with the target lab, whose key is in a variable."""
    console.save_target({"name": "lab", "url": HERE, "key_variable": "TRUELOAD_KEY_LAB"})
    return console


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://Lab/v1", "http://lab:80"),
        ("https://lab", "https://lab:443"),
        ("HTTPS://lab.:8443/x", "https://lab:8443"),
        ("http://lab:80", "http://lab:80"),
        ("http://[::1]:9/", "http://::1:9"),
        ("http://user@lab", "http://lab:80"),
        ("http://lab@evil", "http://evil:80"),
        ("ftp://lab", None),
        ("http://lab:99999", None),
        ("http://", None),
        ("", None),
        (None, None),
    ],
)
def test_an_origin_is_the_scheme_the_host_and_the_port(url: str | None, origin: str | None) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "gets"),
    [
        ("http://lab/v1", True),
        ("http://lab:80", True),
        ("https://lab", False),
        ("http://lab:81", False),
        ("http://lab.evil", False),
        ("http://lab@evil", False),
        ("nonsense", False),
        (["http://lab/v1", "http://lab:80=3"], True),
        ([{"url": "http://lab", "weight": 2}], True),
        (["http://lab", "http://lab:81"], False),
        (["http://lab", {"url": "http://evil"}], False),
        (["http://lab", "@addresses"], False),
    ],
)
def test_only_the_origin_of_the_target_gets_its_key_and_its_headers(url: object, gets: bool) -> None:
    variables = KeyVariables(environment=HELD)
    assert variables.environment(url, None, LAB).get("OPENAI_API_KEY") == ("sk-lab" if gets else None)
    assert variables.headers(url, LAB) == (["X-Tenant: sk-lab"] if gets else [])
    assert variables.missing(LAB, url) == (() if gets else ("api_key", "header"))


def test_a_url_without_a_target_gets_no_key_of_the_environment() -> None:
    environment = KeyVariables(environment=HELD | {"ANTHROPIC_API_KEY": "x"}).environment("http://lab", None, None)
    assert environment == {"TRUELOAD_KEY_LAB": "sk-lab", "AWS_SECRET": "sk-aws", "PATH": "/bin"}


def test_the_key_is_in_the_variable_that_the_endpoint_reads() -> None:
    environment = KeyVariables(environment=HELD).environment("http://lab", "messages", LAB)
    assert (environment.get("ANTHROPIC_API_KEY"), environment.get("OPENAI_API_KEY")) == ("sk-lab", None)


def test_a_variable_must_be_allowed_by_the_one_who_started_the_console() -> None:
    assert KeyVariables(environment=HELD).problem("AWS_SECRET") == (
        "AWS_SECRET may not be used as a key: start the console with --key-env AWS_SECRET"
    )
    # The answer does not reveal whether another variable exists.
    assert "--key-env NO_SUCH" in str(KeyVariables(environment=HELD).problem("NO_SUCH"))
    assert KeyVariables(["AWS_SECRET"], HELD).problem("AWS_SECRET") is None
    assert KeyVariables(["AWS_*"], HELD).problem("AWS_SECRET") is None
    assert "has no environment variable TRUELOAD_KEY_B" in str(KeyVariables(environment=HELD).problem("TRUELOAD_KEY_B"))
    assert KeyVariables(environment=HELD).problem("OPENAI_API_KEY") is None


def test_a_target_that_names_a_variable_that_is_not_allowed_is_refused_wherever_it_comes_from(console: Console) -> None:
    wrong = {"name": "aws", "url": HERE, "key_variable": "AWS_SECRET", "header_variables": {"X-A": "HOME"}}
    with pytest.raises(Refused) as refused:
        console.save_target(wrong)
    assert [field for field, _ in refused.value.problems] == ["key_variable", "header_variables"]
    with pytest.raises(Refused, match="--key-env HOME"):
        console.save_target({**wrong, "key_variable": None})
    # A target saved by an older version.
    console.store.save_target(Target("old", HERE, key_variable="AWS_SECRET"))
    with pytest.raises(Refused, match="--key-env AWS_SECRET, or type it"):
        console.create({"requests": 1}, target="old", start=False)
    with pytest.raises(Refused, match="--key-env AWS_SECRET"):
        console.probe({}, {}, console.target("old"))
    assert console.create({"requests": 1}, target="old", secrets={"api_key": "typed"}, start=False).needs == ()


def test_a_target_and_the_url_of_another_server_are_refused_alike_by_probe_and_start(lab: Console) -> None:
    elsewhere = "http://127.0.0.1:10/v1"
    sentence = f"{elsewhere} is not at the target lab"
    with pytest.raises(Refused, match=sentence):
        lab.probe({"url": elsewhere}, {}, lab.target("lab"))
    with pytest.raises(Refused, match=sentence):
        lab.create({"url": elsewhere}, target="lab")
    with pytest.raises(Refused, match=f"{HERE}, {sentence}"):
        lab.create({"url": [HERE, f"{elsewhere}=2"]}, target="lab")
    assert lab.tasks() == []
    given, problems = aimed({"url": f"{HERE}/v1/completions", "rate": 1}, lab.target("lab"))
    assert (given, problems) == ({"url": f"{HERE}/v1/completions", "rate": 1}, [])


def test_a_server_that_counts_tokens_elsewhere_does_not_get_the_key(lab: Console) -> None:
    other = {"tokenizer": "http://127.0.0.1:10", "input_tokens": 16}
    with pytest.raises(Refused, match=r"the key of this load would go to http://127\.0\.0\.1:10"):
        lab.create(other, target="lab", start=False)
    with pytest.raises(Refused, match="the key of this load"):
        lab.create({**other, "url": HERE}, secrets={"api_key": "typed"}, start=False)
    task = lab.create({"requests": 1}, target="lab", start=False)
    with pytest.raises(Refused, match="the key of this load"):
        lab.clone(task.id, other, start=False)
    # Where no key is, none can go elsewhere.
    assert lab.create({**other, "url": HERE}, start=False).needs == ()
    lab.save_target({"name": "keyless", "url": HERE})
    assert lab.create(other, target="keyless", start=False).needs == ()


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"url": "http://a"}, False), ({"url": "http://a", "proxy": "http://p:1"}, True),
        ({"url": "https://a", "proxy": "http://p:1"}, False), ({"url": "https://a", "insecure": True}, False),
        ({"url": "https://a", "proxy": "http://p:1", "insecure": True}, True),
        ({"url": "https://a", "proxy": "http://p:1", "ca_file": "x.pem"}, True),
        ({"url": ["https://a", "http://a"], "proxy": "http://p:1"}, True),
    ],
)  # fmt: skip
def test_a_proxy_that_could_read_a_key_is_refused(settings: dict[str, object], refused: bool) -> None:
    assert [field for field, _ in proxy_problem(settings)] == ["proxy"] * refused


def test_a_proxy_does_not_get_the_key_of_a_target_nor_one_that_was_typed_for_another_task(lab: Console) -> None:
    proxy = {"proxy": "http://127.0.0.1:10"}
    with pytest.raises(Refused, match="the proxy could read the key"):
        lab.create({**proxy, "requests": 1}, target="lab", start=False)
    with pytest.raises(Refused, match="the proxy could read the key"):
        lab.probe(proxy, {}, lab.target("lab"))
    typed = lab.create({"url": HERE}, secrets={"api_key": "k"}, start=False)
    for task in (lab.create({"requests": 1}, target="lab", start=False), typed):
        with pytest.raises(Refused, match="the proxy could read the key"):
            lab.clone(task.id, proxy, start=False)
    # Who types a key chooses its proxy, and may run the task again.
    own = lab.create({**proxy, "url": HERE}, secrets={"api_key": "k"}, start=False)
    assert lab.clone(own.id, {"requests": 2}, start=False).needs == ()


def test_a_clone_for_another_server_leaves_key_and_headers_behind(lab: Console) -> None:
    first = lab.create({"requests": 1}, target="lab", secrets={"header": ["X-A: secret"]}, start=False).id
    same = lab.clone(first, {"url": f"{HERE}/v1"}, start=False)
    other = lab.clone(first, {"url": "http://127.0.0.1:10"}, start=False)
    plans = [yaml.safe_load((lab.runs / task.id / "task.yaml").read_text()) for task in (same, other)]
    assert [plan.get("key_variable") for plan in plans] == ["TRUELOAD_KEY_LAB", None]
    assert [plan["typed"] for plan in plans] == [["header"], []]
    assert lab.runner.secrets[same.id] == {"header": ["X-A: secret"]}
    assert other.id not in lab.runner.secrets
    # A plan that does not name the target of its keys sends them nowhere, and asks.
    path = lab.runs / same.id / "task.yaml"
    path.write_text(path.read_text().replace("keys_for", "was"))
    assert lab.task(same.id).needs == ("api_key",)


def test_a_clone_for_more_servers_leaves_a_typed_key_behind(console: Console) -> None:
    both = ["http://127.0.0.1:10", "http://127.0.0.1:11"]
    first = console.create({"url": both}, secrets={"api_key": "k"}, start=False)
    assert first.target == "http://127.0.0.1:10 +1"
    others = [[both[0], "http://127.0.0.1:12"], ["http://127.0.0.1:12", "http://127.0.0.1:13"], [*both, "http://lab"]]
    for url, keeps in ((both[1], True), (both[::-1], True), *((url, False) for url in others)):
        task = console.clone(first.id, {"url": url}, start=False)
        assert (task.id in console.runner.secrets) == keeps, url


def test_run_again_waits_for_the_typed_secrets(user: TestClient, console: Console) -> None:
    done = console.create({"url": HERE, "requests": 1}, secrets={"api_key": "k", "header": ["X: y"]}, start_at=LATER)
    console.runner.secrets.clear()  # As after the end of the task.
    reply = user.post(f"/tasks/{done.id}/clone", follow_redirects=False)
    again = console.task(reply.headers["location"].rpartition("/")[2])
    assert (again.state, again.needs) == ("not started", ("api_key", "header"))
    page = user.get(f"/tasks/{again.id}").text
    assert [f'name="{name}"' in page for name in ("api_key", "headers")] == [True, True]
    told = user.post(f"/api/tasks/{again.id}/start")
    assert (told.status_code, "the API key and the headers" in told.json()["error"]) == (409, True)
    assert user.post(f"/api/tasks/{done.id}/clone").json()["needs"] == ["api_key", "header"]
    typed = {"api_key": "k", "headers": "X: y", "start": False}
    assert user.post(f"/api/tasks/{done.id}/clone", json=typed).json()["needs"] == []
    assert "Type it again" in user.get(f"/new?from={done.id}").text


def test_every_problem_of_a_server_is_told_at_once(console: Console) -> None:
    with pytest.raises(Refused) as refused:
        console.save_target({"name": "a b", "url": "ftp://h"})
    assert [field for field, _ in refused.value.problems] == ["name", "url"]


def test_a_queue_of_an_earlier_life_waits_for_its_secrets_and_lets_others_pass(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = Console(runs)
    with_key = first.create({"url": HERE}, secrets={"api_key": "k"}, start_at=LATER).id
    other = first.create({"url": HERE}, start_at=LATER).id
    first.close()
    console = Console(runs)
    user = TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1")
    user.headers["authorization"] = f"Bearer {TOKEN}"
    task = console.task(with_key)
    assert (task.state, task.needs) == ("queued", ("api_key",))
    assert 'name="api_key"' in user.get(f"/tasks/{with_key}").text
    console.store.enqueue(with_key)  # Both are due now.
    console.store.enqueue(other)
    assert console.runner.due() == (other, plans.read(console.runs / other))
    with pytest.raises(Conflict, match="type it again"):
        console.queue.start(with_key)
    console.runner.secrets[with_key] = {"api_key": "k"}
    assert console.runner.due() == (with_key, plans.read(console.runs / with_key))
    console.close()


def test_typed_secrets_keep_the_place_in_the_queue(console: Console) -> None:
    names = [console.create({"url": HERE}, secrets={"api_key": "k"}, start_at=LATER).id for _ in range(3)]
    console.runner.secrets.clear()
    console.queue.start(names[0], {"api_key": "k"})
    assert list(console.runner.queue) == names
    with pytest.raises(Conflict, match="is queued"):
        console.queue.start(names[0], {"api_key": "k"})


@pytest.mark.parametrize(
    ("tokenizer", "url", "refused"),
    [
        (None, "http://a", False), ("server", "http://a", False), ("org/name", "http://a", False),
        ("http://a/v1", "http://a", False), ("http://a:80", ["http://a/v1"], False), ("http://b", "http://a", True),
        ("https://a", "http://a", True), ("http://a", ["http://a", "http://b"], True), ("http://a", None, True),
    ],
)  # fmt: skip
def test_a_server_that_counts_tokens_is_the_one_that_is_loaded(
    tokenizer: str | None, url: object, refused: bool
) -> None:
    problems = tokenizer_problem({"tokenizer": tokenizer, "url": url})
    assert [field for field, _ in problems] == ["tokenizer"] * refused
    assert all(str(origin_of(str(tokenizer))) in sentence for _, sentence in problems)


def test_a_task_that_cannot_be_stored_leaves_no_secret_behind(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*of: object) -> NoReturn:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(console.store, "enqueue", full)
    with pytest.raises(sqlite3.Error):
        console.create({"url": HERE}, secrets={"api_key": "k"}, start_at=LATER)
    assert (console.tasks(), console.runner.secrets) == ([], {})


def test_a_removed_task_leaves_no_secret_behind(console: Console) -> None:
    kept, gone = (console.create({"url": HERE}, secrets={"api_key": key}, start_at=LATER).id for key in "ab")
    console.remove(gone, files=False)
    assert console.runner.secrets == {kept: {"api_key": "a"}}
