"""One calibration: a run against a mock, with its ledger next to its records, and a certificate for later runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import orjson

from bench import manifest
from bench.accuracy import coverage, metamorphic
from bench.accuracy.ledger import PROBE
from bench.accuracy.sweep import UNITS, LoadPoint, Sweep, SweepRow, next_point
from bench.calibrate import remote
from bench.clock import clock_identity
from bench.config import RunConfig
from bench.documents.calibration_sweep_document import calibration_sweep_document, progress_line
from bench.endpoints import urls
from bench.endpoints.choice import endpoint_of
from bench.errors import Exit
from bench.evaluate import Result
from bench.load_test import run
from bench.machine import identity, machine_cache
from bench.observer import LoadOnly, Observer
from bench.process.mock_process import replicas_of, running_mock
from bench.readiness import wait_until_ready
from bench.report import html
from bench.results.certificate import Certificate, LedgerCalibration
from bench.run_files.run_directory import CERTIFICATE, LEDGER, MOCK, RunDirectory
from bench.run_files.writable import make_directory
from bench.series import files
from bench.series.drive import End, drive, in_order
from bench.series.runs import unless_interrupted

ANYWHERE = "http://127.0.0.1:1"
"""A placeholder for the mock's address before it is known, so that a wrong load is refused before the mock starts."""
Places = str | list[str]
"""The setting `url`: the address of a mock, or the addresses of its replicas."""

SLOW_READER_ID = f"{PROBE}slow-reader"
"""The id of the request of `read_slowly`, which is not part of the load."""
_SLOW_READER_TOKENS = 40_000
"""About 8 MB: more than a sender's buffer may grow to on Linux (4 MiB, tcp_wmem)."""
_PAUSE_S = 1.0
ANY_PATH = "/any"
"""The path at which the mock acts as any HTTP service."""
_RECEIVE_BYTES = 4_096


def calibrate(
    config_at: Callable[[Places], RunConfig],
    *,
    mock_flags: str = "",
    command: Sequence[str] = (),
    observer: Observer,
    afterwards: Callable[[str], None] = lambda base_url: None,
) -> Result:
    """Measure our own mock on this machine. `config_at` returns the load for the mock's address. `afterwards` is called
    with that address after the load, before the mock ends.

    Raises UsageError for a wrong load or wrong flags, before anything starts.
    """
    planned = config_at(anywhere(mock_flags))
    if planned.out is not None:
        RunDirectory.refuse_used(Path(planned.out))
    with running_mock(mock_flags, seed=planned.seed, tokenizer=planned.tokenizer) as mock:

        def add_ledger(directory: RunDirectory) -> None:
            afterwards(mock.url)
            content: dict[str, object] = {"clock": "shared"}
            if len(mock.urls) == 1:
                content["truth"] = remote.truth_of(mock.url, _asked(planned))
            else:  # Each replica has its own closed form, but their mixture has none.
                content["replicas"] = [address.name for address in config.addresses]
            mock.end_with_ledger(directory.path / LEDGER)
            directory.write(MOCK, orjson.dumps(content))

        places = [url if endpoint_of(planned).path else url + ANY_PATH for url in mock.urls]
        config = config_at(places if len(places) > 1 else places[0])
        return run(config, command=command, observer=observer, before_evaluation=add_ledger)


def anywhere(mock_flags: str) -> Places:
    """Unused addresses, as many as a mock with these flags will listen on."""
    replicas = replicas_of(mock_flags)
    return ANYWHERE if replicas == 1 else [f"http://127.0.0.1:{port}" for port in range(1, 1 + replicas)]


def calibrate_at(config: RunConfig, *, command: Sequence[str] = (), observer: Observer) -> Result:
    """Measure a mock that already runs, here or on another machine. Raises TargetError if there is none."""
    base_url = urls.models_url(config.url).removesuffix("/v1/models")
    if not endpoint_of(config).path:
        base_url = urlunsplit((*urlsplit(config.url)[:2], "", "", ""))
    wait_until_ready(config, observer)
    before = remote.truth_of(base_url)
    shared = remote.same_clock(before.get("clock"), clock_identity())
    observer.say("the mock shares our clock" if shared else "the mock runs on another machine: durations are compared")

    def add_ledger(directory: RunDirectory) -> None:
        remote.fetch_ledger(base_url, before["ledger_lines"], directory.path / LEDGER)
        truth = remote.truth_of(base_url, _asked(config))
        # Nodes of a cluster may have their own clocks: their instants are only known within the bounds of these clocks.
        one_clock = shared and not any(place.clock_bound_ns for place in manifest.read(directory).manifest.places)
        if shared and not one_clock:
            observer.say("the nodes have clocks of their own: durations are compared")
        directory.write(MOCK, orjson.dumps({"clock": "shared" if one_clock else "other", "truth": truth}))

    return run(config, command=command, observer=observer, before_evaluation=add_ledger, wait=False)


def _asked(config: RunConfig) -> int | None:
    """The output tokens that each request asks for; None if they differ or are not known."""
    asked = config.output_tokens
    return int(asked) if asked is not None and config.dataset is None and asked.isdecimal() else None


def default_path() -> Path:
    """The file of certificates: trueload/certificates.json in the user's cache."""
    return machine_cache.default_path("certificates.json")


def keep(result: Result) -> bool:
    """Keep a certificate for the later runs that it covers. Returns False if it is useless for them: the run was
    interrupted; nothing could be compared; the mock had another clock, so its errors include the network; or the nodes
    of a cluster sent the load, so it says nothing about this machine."""
    if manifest.read(result.directory).manifest.places:
        return False
    calibration = result.summary.calibration
    if (
        result.exit == Exit.INTERRUPTED
        or not isinstance(calibration, LedgerCalibration)
        or not calibration.metrics
        or calibration.clock == "other"
    ):
        return False
    new = coverage.CertificateBrief.of(_certificate(result))
    path, host = default_path(), identity.host()
    entry = machine_cache.read_entry(path, host)
    certificates = coverage.kept_with(coverage.in_entry(entry), new)
    machine_cache.write_entry(path, host, _entry(certificates, entry.get("sweep") if isinstance(entry, dict) else None))
    return True


def _certificate(result: Result) -> Certificate:
    return msgspec.json.decode((result.directory.path / CERTIFICATE).read_bytes(), type=Certificate)


def keep_sweep(sweep: Sweep) -> None:
    """Keep a sweep of this machine, replacing the previous one."""
    path, host = default_path(), identity.host()
    certificates = coverage.in_entry(machine_cache.read_entry(path, host))
    machine_cache.write_entry(path, host, _entry(certificates, sweep.to_json()))


def _entry(certificates: Sequence[coverage.CertificateBrief], sweep: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entry of this machine in certificates.json."""
    return {"certificates": [certificate.to_json() for certificate in certificates], "sweep": sweep}


def sweep(
    config_at: Callable[[Places, LoadPoint], RunConfig],
    points: Sequence[LoadPoint],
    folder: Path,
    *,
    mock_flags: str,
    command: Sequence[str],
    store: bool,
    observer: Observer,
) -> Sweep:
    """Calibrate one load after the other, each in the directory in its configuration. Writes sweep.json and its page to
    `folder`.

    `config_at` returns the load of a point for the mock's address. Raises Interrupted after Ctrl-C.
    """
    for point in points:
        config_at(anywhere(mock_flags), point)  # Report all problems before anything starts.

    def measure(point: LoadPoint) -> SweepRow:
        observer.say(f"{point.value:g} {UNITS[point.kind]}")
        result = unless_interrupted(
            calibrate(
                lambda address: config_at(address, point),
                mock_flags=mock_flags,
                command=command,
                observer=LoadOnly(observer),
            )
        )
        if store:
            keep(result)
        return SweepRow.of(point, _certificate(result), point.name)

    def next_step(rows: Sequence[SweepRow]) -> LoadPoint | End:
        return next_point(points, rows) or End()

    rows, end = drive(next_step, measure, tell=lambda _, row: observer.say(progress_line(row)))
    done = _saved_runs(folder, [row.directory for row in rows])
    end.refuse_interrupted(f"interrupted: the sweep is incomplete, and its result was not kept{done}")
    swept = Sweep(**files.stamp(), rows=tuple(rows))
    make_directory("--out", folder)
    write(folder, swept)
    if store:
        keep_sweep(swept)
    return swept


def _saved_runs(folder: Path, directories: Sequence[str]) -> str:
    """A sentence on the complete runs of an interrupted series, and how to render them."""
    if not directories:
        return ""
    names = ", ".join(directories)
    return f". What ended is kept in {folder}: {names} (python -m bench report {folder / directories[-1]} renders one again)"


def write(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json and its page to a directory."""
    files.write(folder, "sweep.json", sweep.to_json())
    RunDirectory(folder).write("sweep.html", html.render(calibration_sweep_document(sweep)).encode())


def check_all(
    config_at: Callable[[Places, str, Mapping[str, Any]], RunConfig],
    given: Mapping[str, Any],
    names: Sequence[str],
    folder: Path,
    *,
    command: Sequence[str],
    observer: Observer,
) -> metamorphic.ChecksResult:
    """Run the metamorphic checks with these names. Writes full.json to `folder`.

    `config_at` returns the load of a check from the mock's address, its name and its flags; `given` are flags for all
    checks. Raises Interrupted after Ctrl-C.
    """
    checks = metamorphic.chosen(names)
    for name, check in checks.items():
        config_at(ANYWHERE, name, metamorphic.load_of(check, given))  # Report all problems before anything starts.
    observations: list[metamorphic.Observation] = []

    def measure(name: str) -> metamorphic.CheckResult:
        check = checks[name]
        result = unless_interrupted(
            calibrate(
                lambda address: config_at(address, name, metamorphic.load_of(check, given)),
                mock_flags=check.mock,
                command=command,
                observer=LoadOnly(observer),
                afterwards=read_slowly if check.slow_reader else lambda base_url: None,
            )
        )
        observations.append(_observation(result, check))
        rows = tuple(metamorphic.expectations(check, observations[-1], observations[0]))
        return metamorphic.CheckResult(name=name, says=check.says, mock=check.mock, rows=rows, directory=name)

    results, end = drive(
        in_order(list(checks)),
        measure,
        tell=lambda name, result: observer.say(f"{name}: {'holds' if result.holds else 'DOES NOT HOLD'}"),
    )
    done = _saved_runs(folder, [result.directory for result in results])
    end.refuse_interrupted(f"interrupted: the checks are incomplete, and full.json is not written{done}")
    checked = metamorphic.ChecksResult(**files.stamp(), checks=tuple(results))
    files.write(folder, "full.json", checked.to_json())
    return checked


def _observation(result: Result, check: metamorphic.Check) -> metamorphic.Observation:
    calibration = result.summary.calibration
    assert isinstance(calibration, LedgerCalibration), "a run against the mock has its ledger"
    blocked = None
    if check.slow_reader:
        with (result.directory.path / LEDGER).open("rb") as file:
            rows = [row for row in map(orjson.loads, file) if row["id"] == SLOW_READER_ID]
        blocked = sum(len(row["blocked"]) for row in rows)
    return metamorphic.Observation(
        summary=result.summary,
        problems=calibration.problems,
        blocked_slow=blocked,
        blocked=calibration.counts.blocked,
    )


def read_slowly(base_url: str) -> None:
    """Request a long reply, wait, then read all of it, so that the mock must wait. Raises OSError if the mock cannot be
    reached."""
    address = urlsplit(base_url)
    assert address.hostname is not None
    assert address.port is not None
    body = orjson.dumps(
        {
            "model": "mock-model",
            "messages": [{"role": "user", "content": "x"}],
            "max_tokens": _SLOW_READER_TOKENS,
            "stream": True,
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
        f"x-request-id: {SLOW_READER_ID}\r\nx-mock-ttft: 1ms\r\nx-mock-tpot: 10us\r\nconnection: close\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        connection.settimeout(20)
        connection.connect((address.hostname, address.port))
        connection.sendall(head.encode() + body)
        threading.Event().wait(_PAUSE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while connection.recv(1 << 16):
            pass
