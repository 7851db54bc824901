"""Several addresses, from flags and files to the configuration, and back from a run directory."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench.config import RunConfig, resolve
from bench.config.addresses import TargetAddress, places_of, resolved, urls_of
from bench.config.resolution import given_again
from bench.errors import TargetError, UsageError
from bench.load.components import run_secrets, target_of
from bench.target.scraper import pages_of


def rows(config: RunConfig) -> list[tuple[str, float]]:
    return [(one.url, one.weight) for one in config.addresses]


def test_one_url_is_a_run_without_several_addresses() -> None:
    for given in ("http://a", ["http://a"], "http://a/v1?x=3"):
        config = resolve({"url": given})
        assert (config.targets, config.balancing, len(config.addresses)) == ((), "round_robin", 1)
    assert resolve({"url": "http://a/x=3"}).url == "http://a/x=3"  # One address needs no weight.


def test_repeated_urls_have_weights_of_one_or_their_own() -> None:
    assert rows(resolve({"url": ["http://a", "http://b:1/v1"]})) == [("http://a", 1), ("http://b:1/v1", 1)]
    config = resolve({"url": ["http://a=3", "http://b = 0.5", {"url": "http://c", "weight": 2}]})
    assert rows(config) == [("http://a", 3), ("http://b", 0.5), ("http://c", 2)]
    assert (config.url, config.balancing) == ("http://a", "weighted")
    assert resolve({"url": ["http://a=3", "http://b"], "balance": "least_in_flight"}).balancing == "least_in_flight"


def test_a_file_has_an_address_a_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet"
    file.write_text("# ours\nhttp://a=3\n\n  http://b   # the old one\nhttp://c/#part\n")
    config = resolve({"url": f"@{file}"})
    assert rows(config) == [("http://a", 3), ("http://b", 1), ("http://c/#part", 1)]
    assert len(resolve({"url": [f"@{file}", "http://d"]}).targets) == 4


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"url": ["http://a", "ftp://b", "x"]}, ["'ftp://b' does not begin with http", "'x' does not begin with http"]),
        ({"url": ["http://a=0", "http://b"]}, ["the weight of http://a must be more than 0"]),
        ({"url": ["http://a=many", "http://b"]}, ["the weight of http://a must be more than 0"]),
        ({"url": ["http://a", "http://a", "http://b"]}, ["http://a is given twice"]),
        ({"url": "@/nowhere"}, ["--url @/nowhere: the file cannot be read"]),
        ({"url": []}, ["no address is given"]),
        ({"url": [{"weight": 3}, "http://a"]}, ["an address has the keys url and weight"]),
        ({"url": [f"http://h{i}" for i in range(257)]}, ["257 addresses are too many"]),
        ({"url": ["http://a/v1/chat/completions", "http://b"]}, ["name different endpoints"]),
        ({"url": "http://a", "balance": "round_robin"}, ["--balance needs several addresses"]),
        ({"url": "http://a", "affinity": "none"}, ["--affinity needs several addresses"]),
        ({"url": ["http://a", "http://b"], "balance": "weighted"}, ["--balance weighted needs weights"]),
        ({"url": ["http://a=2", "http://b"], "balance": "round_robin"}, ["round_robin ignores the weights"]),
        (
            {"url": ["http://a", "http://b"], "endpoint": "responses", "websocket": True, "affinity": "none"},
            ["--affinity none cannot be combined with --websocket"],
        ),
        ({"url": ["http://a", "http://b"], "insecure": True}, ["--ca-file and --insecure are for https:// URLs"]),
    ],
)
def test_what_is_wrong_is_said_all_at_once(given: dict[str, object], problems: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(given)
    assert len(refused.value.problems) == len(problems), refused.value.problems
    for said, expected in zip(refused.value.problems, problems, strict=True):
        assert expected in said


def test_a_run_directory_keeps_the_addresses_without_their_secrets() -> None:
    config = resolve({"url": ["http://me:secret@a=3", "https://b/v1?key=hidden"]})
    stored = config.public()
    assert "secret" not in str(stored)
    assert "hidden" not in str(stored)
    again = RunConfig.stored(stored)
    assert [one.name for one in again.addresses] == ["http://***@a", "https://b/v1?key=***"]
    assert [one.name for one in config.addresses] == [one.name for one in again.addresses]
    assert {"secret", "hidden"} <= {*run_secrets(config, ())}


def test_a_run_is_started_again_with_its_addresses_or_with_others() -> None:
    file = given_again(resolve({"url": ["http://a=3", "http://b"]}).public())
    assert rows(resolve({}, file, "run.yaml")) == [("http://a", 3), ("http://b", 1)]
    assert rows(resolve({"url": "http://c"}, file, "run.yaml")) == [("http://c", 1)]


def test_every_address_gets_its_own_credentials_and_the_key_of_the_run() -> None:
    config = resolve({"url": ["http://me:one@a", "http://b"], "api_key": "the-key"})
    first, second = (dict(target_of(config.at_address(one)).headers) for one in config.addresses)
    assert second == {"authorization": "Bearer the-key"}
    assert first == {"authorization": "Bearer the-key"}  # A given header wins over the credentials of a URL.
    own = resolve({"url": ["http://me:one@a", "http://b"]})
    assert [target_of(own.at_address(one)).headers for one in own.addresses][1] == ()


def test_the_metrics_of_every_address_are_read_with_its_own_headers() -> None:
    config = resolve({"url": ["http://a", "http://b/v1", "http://b/v1/"], "api_key": "k"})
    pages = pages_of((), "off", [target_of(config.at_address(one)) for one in config.addresses])
    found = [f"http://{host}{path}" for host in "ab" for path in ("/metrics", "/prometheus/metrics")]
    assert [(page.url, page.looked_for) for page in pages] == [(url, True) for url in found]
    named = pages_of(("http://b/m", "http://c/m"), "off", [target_of(config.at_address(o)) for o in config.addresses])
    assert [bool(page.headers) for page in named] == [True, False]


def test_a_name_gives_one_address_for_each_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"fleet": ["10.0.0.20", "10.0.0.3", "10.0.0.3", "fd00::1"], "other": ["10.0.0.3"]}

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (ip, port)) for ip in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    given = TargetAddress(url="https://fleet:8443/v1", weight=2)
    found = resolved([given])
    assert [one.name for one in found] == ["https://10.0.0.3:8443", "https://10.0.0.20:8443", "https://[fd00::1]:8443"]
    assert {(one.url, one.weight) for one in found} == {(given.url, 2)}
    assert resolved(found) == found  # As when a stored run is repeated.
    assert places_of(found) == "https://10.0.0.3:8443 and 2 more addresses"
    with pytest.raises(TargetError, match="the name gone is not known"):
        resolved([given, TargetAddress(url="http://gone")])
    with pytest.raises(TargetError) as refused:
        resolved([TargetAddress(url="http://gone"), given, TargetAddress(url="http://lost:1")])
    assert str(refused.value).splitlines() == [
        f"the name {name} is not known (Name or service not known)" for name in ("gone", "lost")
    ]
    known["wide"] = [f"10.0.0.{n}" for n in range(256)]
    assert len(resolved([TargetAddress(url="http://wide")])) == 256
    known["wide"].append("10.0.1.0")
    with pytest.raises(TargetError, match="257 addresses are too many: a run has at most 256"):
        resolved([TargetAddress(url="http://wide")])


def test_a_flag_replaces_all_addresses_of_a_file() -> None:
    file = {"url": "http://a", "targets": [{"url": "http://a", "weight": 2}, {"url": "http://b", "weight": 1}]}
    assert rows(resolve({}, file, "run.yaml")) == [("http://a", 2), ("http://b", 1)]
    config = resolve({"url": "http://c"}, file, "run.yaml")
    assert (config.url, config.targets) == ("http://c", ())


@pytest.mark.parametrize(
    ("setting", "urls"),
    [
        (None, [""]),
        ("", [""]),
        ([], [""]),
        (" http://a ", ["http://a"]),
        (["http://a=3", "http://b"], ["http://a", "http://b"]),
        (("http://a",), ["http://a"]),
    ],
)
def test_a_setting_names_its_urls_as_they_are_written(setting: object, urls: list[str]) -> None:
    assert urls_of(setting) == urls
