"""Dockerfile and compose.yaml, as far as they can be checked without a container engine. scripts/check-container runs
the steps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from bench.commands.console import _parser
from bench.console.security import SHORTEST_TOKEN
from mockserver.cli import read_arguments

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_what_the_image_runs_has_no_root_and_no_compiler() -> None:
    (user,) = re.findall(r"^USER (\S+)$", LAST, re.MULTILINE)
    assert int(user) > 0
    assert f"useradd --uid {user} " in LAST
    assert "gcc" not in LAST
    assert LAST.index("USER ") < LAST.index("ENTRYPOINT ")


def test_the_build_is_given_all_that_it_copies_and_nothing_else() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {rule.removeprefix("!") for rule in ignored if rule.startswith("!")} == set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_compose_file_starts_a_mock_and_a_console_that_can_reach_it() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    mock, console = services["mock"], services["console"]
    words: list[str] = [*mock["entrypoint"], *mock["command"]]
    program, *flags = words
    assert program == "trueload-mock"
    config = read_arguments(flags)
    assert config.host == "0.0.0.0"
    assert str(config.port) in mock["healthcheck"]["test"]
    # The name under which the console contacts the mock.
    assert "mock" in config.allowed_host
    assert console["depends_on"] == {"mock": {"condition": "service_healthy"}}
    # The console is reachable only from this machine, and only with a token.
    (port,) = console["ports"]
    assert port.startswith("127.0.0.1:")
    assert console["environment"]["TRUELOAD_TOKEN"].startswith("${TRUELOAD_TOKEN:?")
    assert console["read_only"] is mock["read_only"] is True
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        # Added capabilities reach only root, and the image has another user.
        assert "cap_add" not in service


def test_the_image_starts_the_console_and_asks_it_for_its_health() -> None:
    command, *flags = json.loads(LAST[LAST.index("\nCMD ") + 5 :])
    given = _parser().parse_args(flags)
    assert (command, given.host) == ("console", "0.0.0.0")
    assert f":{given.port}/static/" in LAST[LAST.index("HEALTHCHECK ") :].splitlines()[0]
    assert f"{given.runs}\n" in LAST[: LAST.index("USER ")]


def test_prometheus_reads_the_mock_and_a_load_and_grafana_has_the_dashboard_of_the_examples() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services, contents = compose["services"], {name: each["content"] for name, each in compose["configs"].items()}
    assert {each["source"] for service in services.values() for each in service.get("configs", ())} == set(contents)
    (source,) = yaml.safe_load(contents["datasource"])["datasources"]
    targets = [
        job["static_configs"][0]["targets"][0] for job in yaml.safe_load(contents["prometheus"])["scrape_configs"]
    ]
    # Grafana derives its rate windows from this. The default windows would be longer than a load.
    assert source["jsonData"]["timeInterval"] == yaml.safe_load(contents["prometheus"])["global"]["scrape_interval"]
    named = [address.removeprefix("http://").partition(":")[0] for address in (source["url"], *targets)]
    assert [name for name in named if name not in services] == []
    (provider,) = yaml.safe_load(contents["dashboards"])["providers"]
    assert services["grafana"]["volumes"] == [f"./examples/grafana:{provider['options']['path']}:ro"]


@pytest.mark.parametrize("file", ["compose.yaml", "docs/install.md"])
def test_the_token_that_a_reader_is_told_to_choose_lets_them_in(file: str) -> None:
    text = (ROOT / file).read_text()
    chosen = set(re.findall(r"(?:TRUELOAD_TOKEN|token)=([\w-]+)", text))
    assert len(chosen) == 1
    assert len(chosen.pop()) >= SHORTEST_TOKEN


def test_the_devcontainer_runs_what_there_is() -> None:
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    script = settings["postCreateCommand"].split()[0]
    assert (ROOT / script).stat().st_mode & 0o100
