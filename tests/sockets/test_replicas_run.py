"""Runs over several replicas: the numbers of each against the mock's ledger, one that dies, all that die, and names in
replies."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import Exit
from mockserver.api import MockServer
from tests.support.held_port import held_port
from tests.support.literal_replies import CHUNKED, GOOD, head, stream, whole
from tests.support.literal_server import CERTIFICATE, LiteralServer, Received, Send, Step
from tests.support.on_transports import WAYS, ask
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

pytestmark = pytest.mark.usefixtures("work_folder")


def bench(command: str, *flags: str, urls: Sequence[str], out: Path) -> subprocess.CompletedProcess[str]:
    to = [word for url in urls for word in ("--url", url)]
    small = ["--input-tokens", "20", "--output-tokens", "4", "--out", str(out), "--quiet"]
    return run_to_end([sys.executable, "-m", "bench", command, *to, *small, *flags])


def per_target(run: Path) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text())
    return {part["target"]: part for part in summary["per_target"]}


@pytest.mark.parametrize(
    "flags",
    [
        ["--transport", "wire"],
        pytest.param(["--transport", "httpx"], marks=pytest.mark.long),
        pytest.param(["--transport", "wire", "--workers", "2"], marks=pytest.mark.long),
        ["--balance", "least_in_flight"],
    ],
)
def test_the_numbers_of_each_replica_are_those_of_its_lines_in_the_ledger(flags: list[str], tmp_path: Path) -> None:
    with MockServer(replicas=3, ttft="10ms", tpot="1ms", replica=["1:ttft=40ms"]) as mock:
        ran = bench("run", "--concurrency", "6", "--requests", "60", *flags, urls=mock.urls, out=tmp_path / "run")
        ledger = mock.ledger()
    assert ran.returncode in (0, 3), ran.stderr
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    of_replica: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in ledger:
        of_replica[mock.urls[line["engine"]["replica"]]][line["id"]] = line
    parts = per_target(tmp_path / "run")
    assert [*parts] == [*mock.urls]
    assert len(records) == 60
    for url, part in parts.items():
        own = [record for record in records if record["target"] == url]
        assert {record["id"] for record in own} <= of_replica[url].keys()
        assert part["sent"] == part["succeeded"] == len(own)
        ttft_ms = [(next_token(record) - record["sent_ns"]) / 1e6 for record in own]
        assert part["latency"]["ttft_ms"]["p50"] == pytest.approx(float(np.quantile(ttft_ms, 0.5)), rel=1e-9)
        planned_ms = 40.0 if url == mock.urls[1] else 10.0
        assert {of_replica[url][record["id"]]["planned"]["ttft_ns"] / 1e6 for record in own} == {planned_ms}
        assert min(ttft_ms) >= planned_ms - 1  # No reply is faster than its replica, within the error of stamps.
    if "--balance" not in flags and "--workers" not in flags:
        assert {part["sent"] for part in parts.values()} == {20}
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1)


def next_token(record: dict[str, Any]) -> int:
    """The time of the next first token."""
    return int(record["chunk_ns"][record["chunk_kind"].index("c")])


def test_a_replica_that_dies_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with MockServer(replicas=3, ttft="20ms", tpot="1ms", replica=["2:fault=refuse:skip=10"]) as mock:
        ran = bench("run", "--concurrency", "6", "--requests", "150", urls=mock.urls, out=out)
        first, second, dead = mock.urls
    assert ran.returncode in (0, 3), ran.stderr
    parts = per_target(out)
    verdict = json.loads((out / "summary.json").read_text())["verdict"]
    assert parts[dead]["gone"]["requests"] >= 3
    assert parts[dead]["by_outcome"]["connect_error"] >= 3
    assert verdict["status"] != "VALID"
    assert "replica_gone" in verdict["signs"]
    assert any(f"replica {dead} gave its last answer" in reason for reason in verdict["reasons"])
    assert [parts[url]["failed"] for url in (first, second)] == [0, 0]
    assert [parts[url]["gone"] for url in (first, second)] == [None, None]
    records = record_rows(out / "requests.jsonl")
    assert len(records) == 150
    assert {record["target"] for record in records if record["outcome"] != "ok"} == {dead}


def test_only_when_every_replica_is_gone_the_status_is_4(tmp_path: Path) -> None:
    dying = [f"{number}:fault=refuse:skip=10" for number in range(2)]
    with MockServer(replicas=2, ttft="20ms", tpot="1ms", replica=dying) as mock:
        ran = bench("run", "--concurrency", "4", "--requests", "120", urls=mock.urls, out=tmp_path / "run")
    assert ran.returncode == Exit.TARGET, ran.stderr
    parts = per_target(tmp_path / "run")
    assert all(part["gone"] is not None for part in parts.values()), [
        (p["by_outcome"], p["gone"]) for p in parts.values()
    ]


def test_the_probe_names_every_address_that_fails(tmp_path: Path) -> None:
    with held_port() as one, held_port() as other, MockServer() as mock:
        urls = [f"http://127.0.0.1:{one}", mock.url, f"http://127.0.0.1:{other}"]
        ran = bench("run", "--concurrency", "1", "--requests", "1", urls=urls, out=tmp_path / "run")
        waited = bench(
            "run", "--concurrency", "1", "--requests", "1", "--wait-for-server", "1s", urls=urls, out=tmp_path / "wait"
        )
    for refused in (ran, waited):
        assert refused.returncode == Exit.TARGET
        assert all(refused.stderr.count(f"cannot connect to http://127.0.0.1:{port}/v1") == 1 for port in (one, other))
        assert mock.url not in refused.stderr.replace("probing", "")
    assert not (tmp_path / "run").exists()


def test_addresses_that_serve_other_models_are_refused(tmp_path: Path) -> None:
    with MockServer(model="a") as one, MockServer(model="b") as other:
        ran = bench("run", "--concurrency", "1", "--requests", "1", urls=[one.url, other.url], out=tmp_path / "run")
    assert ran.returncode == Exit.TARGET
    assert f"the addresses list different models first ({one.url}: a; {other.url}: b)" in ran.stderr


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_sweep_sends_every_load_to_all_of_them(workers: int, tmp_path: Path) -> None:
    with MockServer(replicas=2, ttft="5ms", tpot="1ms") as mock:
        load = ["--loads", f"concurrency={workers},{2 * workers}", "--requests", "12"]
        flags = [*load, "--balance", "round_robin", "--workers", str(workers)]
        ran = bench("sweep", *flags, urls=mock.urls, out=tmp_path / "sweep")
    assert ran.returncode in (0, 3), ran.stderr
    runs = sorted((tmp_path / "sweep").glob("*/summary.json"))
    assert len(runs) == 2
    for run in runs:
        assert [part["sent"] for part in per_target(run.parent).values()] == [6, 6]


@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_behind_a_router_the_reply_says_who_answered(transport: str, tmp_path: Path) -> None:
    turns = itertools.cycle(["x-served-by: pod-a", "X-Served-By: pod-b", "x-served-by: pod-a"])

    def router(request: Received) -> Sequence[Step]:
        if request.method == "GET":
            return whole("404 Not Found", b"")
        return [Send(head("200 OK", "text/event-stream", CHUNKED, next(turns))), *stream(*GOOD)[1:]]

    out = tmp_path / "run"
    with LiteralServer(router) as server:
        flags = ["--concurrency", "1", "--requests", "30", "--transport", transport]
        ran = bench("run", *flags, urls=[server.url], out=out)
    assert ran.returncode in (0, 3), ran.stderr
    parts = per_target(out)
    assert {name: part["sent"] for name, part in parts.items()} == {"pod-a": 20, "pod-b": 10}
    assert all(part["share_p"] is not None for part in parts.values())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_is_connected_to_under_its_name(way: str, scheme: str) -> None:
    def router(request: Received) -> Sequence[Step]:
        seen = f"x-inference-pod: seen-as-{request.headers['host'].partition(':')[0]}"
        return [Send(head("200 OK", "text/event-stream", CHUNKED, seen)), *stream(*GOOD)[1:]]

    with LiteralServer(router, tls=scheme == "https") as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        name = "localhost" if scheme == "https" else "no-such-host.invalid"
        url = f"{scheme}://{name}:{port}/v1/chat/completions"
        record = ask(way, url, address="127.0.0.1", ca_file=str(CERTIFICATE) if scheme == "https" else None)[0]
    assert (record.outcome, record.target) == ("ok", f"seen-as-{name}")
