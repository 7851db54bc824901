"""`python -m bench calibrate` as users call it: against its own mock, against a running one, over many loads."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from bench import cli
from bench.calibrate import remote
from bench.clock import clock_identity
from bench.errors import Exit, TargetError
from mockserver.clock import identity
from tests.support.calm import lasting
from tests.support.held_port import held_port
from tests.support.literal_replies import error, whole
from tests.support.literal_server import LiteralServer, closed_port
from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("empty_cache")

SMALL = ["--input-tokens", "20", "--output-tokens", "8", "--workers", "1", "--quiet"]
CALM = """\
limits:
  run_queue_wait: {suspect: 0.99, invalid: 1.0}
  cpu_busy_seconds: {suspect: 1.0, invalid: 1.0}
  littles_law_off: {suspect: 1.0, invalid: 1.0}
"""
"""Another test covers its accuracy on a busy machine."""


@pytest.fixture(autouse=True)
def calm_file(tmp_path: Path) -> None:
    (tmp_path / "calm.yaml").write_text(CALM)


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "30ms", "--tpot", "5ms") as running:
        yield running


def bench(tmp_path: Path, *words: str) -> int:
    command, *flags = words
    return cli.main([command, "--config", str(tmp_path / "calm.yaml"), *flags, *SMALL])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def kept(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "cache" / "trueload" / "certificates.json"
    if not path.exists():
        return []
    (entry,) = read(path)["machines"].values()
    found: list[dict[str, Any]] = entry["certificates"]
    return found


def test_a_calibration_is_kept_and_shown_by_a_later_run_of_its_load(mock: MockProcess, tmp_path: Path) -> None:
    load = ["--concurrency", "4", "--requests", "24"]
    status = bench(tmp_path, "calibrate", *load, "--mock", "--ttft 30ms --tpot 5ms", "--out", str(tmp_path / "first"))
    assert status in (Exit.GOOD, Exit.INVALID)
    certificate = read(tmp_path / "first" / "certificate.json")
    assert lasting(certificate["problems"]) == []
    assert certificate["clock"] == "shared"
    assert {row["metric"] for row in certificate["mock"]["closed_form"]} == {"ttft_ms", "tpot_ms", "itl_ms", "e2el_ms",
                                                                             "output_tokens"}  # fmt: skip
    (brief,) = kept(tmp_path)
    assert brief["shape"] == certificate["shape"]
    # The effect of a busy machine does not matter here: use a larger load, and a good result.
    path = tmp_path / "cache" / "trueload" / "certificates.json"
    content = read(path)
    for entry in content["machines"].values():
        entry["certificates"][0]["status"] = "VALID"
        entry["certificates"][0]["shape"] |= {"streams": 100, "requests_per_s": 1e4, "chunks_per_s": 1e6}
    path.write_bytes(orjson.dumps(content))
    bench(tmp_path, "run", "--url", mock.url, *load, "--out", str(tmp_path / "second"))
    calibration = read(tmp_path / "second" / "summary.json")["calibration"]
    assert (calibration["from"], calibration["date"]) == ("certificate", certificate["date"])
    assert 0 <= calibration["age_s"] < 3_600
    # A run of another kind is not covered.
    bench(tmp_path, "run", "--url", mock.url, *load, "--transport", "httpx", "--out", str(tmp_path / "third"))
    assert read(tmp_path / "third" / "summary.json")["calibration"] is None


def test_each_replica_of_a_mock_is_held_against_its_own_lines(tmp_path: Path) -> None:
    flags = "--replicas 3 --ttft 20ms --tpot 2ms --replica 1:ttft=80ms"
    bench(tmp_path, "calibrate", "--concurrency", "6", "--requests", "60", "--no-store", "--mock", flags,
          "--out", str(tmp_path / "run"))  # fmt: skip
    certificate = read(tmp_path / "run" / "certificate.json")
    assert lasting(certificate["problems"]) == []
    assert [target["requests"] for target in certificate["per_target"]] == [20, 20, 20]
    p50 = [
        next(row for row in target["metrics"] if (row["metric"], row["stat"]) == ("ttft_ms", "p50"))
        for target in certificate["per_target"]
    ]
    assert [row["true"] >= least for row, least in zip(p50, (20, 80, 20), strict=True)] == [True] * 3
    parts = read(tmp_path / "run" / "summary.json")["per_target"]
    assert [row["measured"] for row in p50] == [part["latency"]["ttft_ms"]["p50"] for part in parts]
    assert [part["target"] for part in parts] == [target["target"] for target in certificate["per_target"]]
    # A mixture of replicas has no closed form.
    assert certificate["mock"]["closed_form"] == []
    assert "Error of each replica" in (tmp_path / "run" / "certificate.html").read_text()
    # A defect: requests attributed to another replica. Their numbers no longer match its lines.
    path = tmp_path / "run" / "requests.jsonl"
    names = [part["target"] for part in parts]
    path.write_text(path.read_text().replace(names[0], "?").replace(names[1], names[0]).replace("?", names[1]))
    assert cli.main(["report", str(tmp_path / "run"), "--quiet"]) == Exit.INVALID
    wrong = read(tmp_path / "run" / "certificate.json")
    reasons = " ".join(wrong["verdict"]["reasons"])
    assert f"median of TTFT of replica {names[0]} reads" in reasons
    assert wrong["per_target"][2] == certificate["per_target"][2]


def test_nothing_is_kept_where_nothing_is_to_be(tmp_path: Path) -> None:
    bench(tmp_path, "calibrate", "--concurrency", "2", "--requests", "4", "--no-store", "--out", str(tmp_path / "run"),
          "--mock", "--ttft 20ms --tpot 2ms")  # fmt: skip
    assert (tmp_path / "run" / "certificate.html").exists()
    assert kept(tmp_path) == []


def test_settings_in_standard_input_are_those_of_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"concurrency: 2\nrequests: 4\n{CALM}"))
    words = ["--config", "-", "--no-store", "--out", str(tmp_path / "run"), "--mock", "--ttft 20ms --tpot 2ms"]
    cli.main(["calibrate", *words, *SMALL])
    assert read(tmp_path / "run" / "certificate.json")["counts"]["requests"] == 4


def test_a_mock_that_runs_is_measured_from_where_its_ledger_stands(mock: MockProcess, tmp_path: Path) -> None:
    for name in ("a", "b"):
        bench(tmp_path, "calibrate", "--url", mock.url, "--concurrency", "3", "--requests", "9",
              "--out", str(tmp_path / name))  # fmt: skip
        certificate = read(tmp_path / name / "certificate.json")
        assert lasting(certificate["problems"]) == []
        assert (certificate["clock"], certificate["counts"]["requests"]) == ("shared", 9)
        assert certificate["observation_lag_ms"]["n"] > 0
    assert mock.process.poll() is None


class _Elsewhere(BaseHTTPRequestHandler):
    """A mock as if on another machine: ours, with another boot id, and a clock a day ahead."""

    url = ""
    protocol_version = "HTTP/1.1"

    def _pass_on(self, body: bytes | None) -> None:
        import httpx

        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection")}
        found = httpx.request(self.command, self.url + self.path, content=body, headers=headers, timeout=PATIENCE_S)
        content = found.content
        if self.path.startswith("/truth"):
            content = orjson.dumps(orjson.loads(content) | {"clock": {"boot_id": "another", "time_namespace": "one"}})
        elif self.path.startswith("/ledger"):
            content = b"".join(orjson.dumps(_ahead(orjson.loads(line))) + b"\n" for line in content.splitlines())
        self.send_response(found.status_code)
        self.send_header("content-type", found.headers.get("content-type", "text/plain"))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers["content-length"])))

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _ahead(line: dict[str, Any]) -> dict[str, Any]:
    day_ns = 86_400 * 10**9
    times = {key: line[key] + day_ns for key in ("received_ns", "handled_ns", "end_ns")}
    return line | times | {"write_ns": [at + day_ns for at in line["write_ns"]]}


def test_a_mock_on_another_machine_is_compared_by_durations(mock: MockProcess, tmp_path: Path) -> None:
    handler = type("Elsewhere", (_Elsewhere,), {"url": mock.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            # A proxy that forwards a whole reply merges its chunks: replies without streaming will do.
            status = bench(tmp_path, "calibrate", "--url", f"http://127.0.0.1:{server.server_port}", "--no-stream",
                           "--concurrency", "2", "--requests", "8", "--out", str(tmp_path / "run"))  # fmt: skip
        finally:
            server.shutdown()
            thread.join()
    assert status in (Exit.GOOD, Exit.INVALID)
    certificate = read(tmp_path / "run" / "certificate.json")
    assert lasting(certificate["problems"]) == []
    assert certificate["clock"] == "other"
    assert (certificate["observation_lag_ms"], certificate["way_in_ms"]) == ({"n": 0}, {"n": 0})
    (p50,) = [r for r in certificate["metrics"] if (r["metric"], r["stat"]) == ("e2el_ms", "p50")]
    # 30 ms and seven times 5, plus the delay of a busy machine, but not the day that its clock is ahead.
    assert 64.9 <= p50["true"] < 3_600_000
    # The rest comes from the machine, as the mock is in this process.
    assert 0 < certificate["network_ms"] <= p50["error"]
    assert kept(tmp_path) == []  # The network is in its errors, so it does not cover loads on this machine.


def test_a_server_that_is_no_mock_is_named_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LiteralServer(lambda _: whole("200 OK", b"{}")) as server:
        assert bench(tmp_path, "calibrate", "--url", server.url, "--out", str(tmp_path / "run")) == Exit.TARGET
    assert "does not answer as a mock does: calibrate needs a running `python -m mockserver`" in capsys.readouterr().err
    with closed_port() as url:
        with pytest.raises(TargetError, match="no mock answers at"):
            remote.truth_of(url)
        with pytest.raises(TargetError, match="the mock ended before its ledger was read"):
            remote.fetch_ledger(url, 0, tmp_path / "ledger.jsonl")
    assert not (tmp_path / "run").exists()


def test_a_mock_that_refuses_the_host_name_is_quoted() -> None:
    refusal = error("/truth does not answer to the host name 'there'.", code=403)
    with (
        LiteralServer(lambda _: whole("403 Forbidden", refusal)) as server,
        pytest.raises(TargetError, match="answers with status 403: /truth does not answer to the host name 'there'"),
    ):
        remote.truth_of(server.url)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "http://127.0.0.1:1", "--mock", "--ttft 1ms"], "use only one of them"),
        (["--url", "http://127.0.0.1:1", "--sweep"], "use only one of them"),
        (["--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:2"], "--url is given more than once"),
        (["--sweep", "rate=5", "--concurrency", "3"], "--concurrency and --sweep cannot be combined"),
        (["--sweep", "5"], "write concurrency=1,10,100"),
        (["--full", "--rate", "5"], "--rate and --full cannot be combined: each check has its own"),
        (["--full", "--mock", "--ttft 1ms"], "--mock and --full cannot be combined"),
        (["--sweep", "rate=5", "--ramp-up", "3s"], "--ramp-up is for users, and mode rate has none"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path, "calibrate", *words, "--out", str(tmp_path / "run")) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_sweep_calibrates_each_load_and_keeps_what_it_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = bench(tmp_path, "calibrate", "--sweep", "concurrency=1,2", "rate=20", "--requests", "4",
                   "--mock", "--ttft 20ms --tpot 2ms", "--out", str(tmp_path / "swept"))  # fmt: skip
    assert status in (Exit.GOOD, Exit.INVALID)
    sweep = read(tmp_path / "swept" / "sweep.json")
    assert [(row["kind"], row["asked"]) for row in sweep["points"]] == [
        ("concurrency", 1),
        ("concurrency", 2),
        ("rate", 20),
    ]
    for row in sweep["points"]:
        assert (tmp_path / "swept" / row["directory"] / "certificate.html").exists()
        assert row["errors_ms"]["ttft_ms"].keys() == {"p50", "p90", "p99"}
    assert capfd.readouterr().out.startswith("Loads that this machine measures correctly: ")
    assert 'class="area"><svg' in (tmp_path / "swept" / "sweep.html").read_text()
    assert len(kept(tmp_path)) in (2, 3)  # One and two streams may count as loads of one shape.
    (entry,) = read(tmp_path / "cache" / "trueload" / "certificates.json")["machines"].values()
    assert entry["sweep"] == sweep


def test_the_checks_of_full_are_run_and_written_down(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "calibrate",
        "--full",
        "refused",
        "slow-reader",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "checked"),
        "--quiet",
    ]
    status = cli.main([*words[:1], "--config", str(tmp_path / "calm.yaml"), *words[1:]])
    found = read(tmp_path / "checked" / "full.json")
    assert status == (Exit.GOOD if found["held"] else Exit.INVALID)
    assert [check["name"] for check in found["checks"]] == ["fast", "refused", "slow-reader"]
    counts = {row["what"]: row for check in found["checks"] for row in check["rows"] if "(ms)" not in row["what"]}
    # Times may be late on a busy machine; counts may not be wrong.
    assert all(row["held"] for row in counts.values()), counts
    assert counts["outcomes"]["seen"] == {"ok": 56, "http_error": 8}
    assert counts["chunks marked blocked, of the slow reader, at least"]["seen"] > 0
    assert capfd.readouterr().out.startswith("What must follow when the mock changes: ")
    assert kept(tmp_path) == []


def test_two_processes_of_one_machine_know_that_they_share_a_clock(mock: MockProcess) -> None:
    ours = clock_identity()
    assert None not in ours.values()
    assert remote.same_clock(remote.truth_of(mock.url)["clock"], ours)
    assert identity() == ours


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ({"boot_id": "a", "time_namespace": "n"}, {"boot_id": "a", "time_namespace": "n"}, True),
        ({"boot_id": "b", "time_namespace": "n"}, {"boot_id": "a", "time_namespace": "n"}, False),
        ({"boot_id": "a", "time_namespace": "m"}, {"boot_id": "a", "time_namespace": "n"}, False),
        ({"boot_id": None, "time_namespace": None}, {"boot_id": None, "time_namespace": None}, False),
        ({}, {"boot_id": "a", "time_namespace": "n"}, False),
        (None, {"boot_id": "a", "time_namespace": "n"}, False),
    ],
)
def test_a_clock_is_shared_where_boot_and_time_namespace_are(
    theirs: Any, ours: dict[str, str | None], same: bool
) -> None:
    assert remote.same_clock(theirs, ours) is same


@pytest.mark.parametrize(
    ("mock_flags", "sentence"),
    [
        ("--ttft 5", "error: --mock: --ttft: '5' is a time without a unit: write 5ms, 5s or 5us (example: 50ms)\n"),
        ("--ttft '5ms", 'error: --mock: no closing quotation in "--ttft \'5ms"\n'),
    ],
)
def test_wrong_flags_of_the_mock_are_told_once(
    mock_flags: str, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["calibrate", "--mock", mock_flags, "--requests", "2"]) == Exit.USAGE
    assert capfd.readouterr().err == sentence


def test_where_nothing_listens_it_says_so_and_how_to_start_a_mock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        assert bench(tmp_path, "calibrate", "--url", url, "--out", str(tmp_path / "run")) == Exit.TARGET
    assert capsys.readouterr().err.endswith(
        f"error: no mock answers at {url}: Connection refused. Start `python -m mockserver` there, or leave --url out: "
        "calibrate then starts one itself\n"
    )
    assert not (tmp_path / "run").exists()
