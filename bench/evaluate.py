"""From the files of a run directory to every number: the same code for a run that has just ended and for an old one.

Nothing here looks at a clock or at the network, so that a report which is rendered again has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from bench import accuracy
from bench.accuracy import coverage
from bench.accuracy.load_shape import LoadShape
from bench.errors import PRECEDENCE, Exit
from bench.metrics import objectives
from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.report import certificate_page, html
from bench.rng import stream
from bench.run_directory import CERTIFICATE, CERTIFICATE_PAGE, REPORT, SUMMARY, RunDirectory
from bench.schedule import ARRIVALS
from bench.verdict import Evidence, Limits, Status, Verdict, judge


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: where it is, its summary (the content of summary.json), and the exit status it stands for."""

    directory: RunDirectory
    summary: dict[str, Any]
    verdict: Verdict
    exit: Exit
    problems: tuple[str, ...] = ()


def evaluate(directory: RunDirectory) -> Result:
    """Every number of a run directory, from its files alone; writes summary.json and report.html (certificate.* too)."""
    stored = directory.manifest()
    config, manifest = stored["config"], stored["manifest"]
    facts = _facts(config, manifest, directory)
    summary = Summary(facts)
    for record in directory.records():
        summary.add(record)
    for row in directory.samples():
        summary.add_sample(row)
    numbers = summary.close()
    shape = LoadShape.measured(numbers, config, manifest.get("workers", 1))
    found = _calibration(directory, numbers, facts.start_ns, config, manifest)
    version = manifest["versions"].get("trueload", "")
    if found is None:
        earlier = coverage.closest(coverage.read_briefs(directory.certificates()), shape, version)
        if earlier is not None:
            found = earlier.on_run(numbers["latency"], manifest.get("ended", manifest["started"]))
    evidence = Evidence(
        summary=numbers,
        open_loop=facts.open_loop,
        exact_lengths=manifest["exact_lengths"],
        calibration=found,
        died=manifest.get("died", ()),
    )
    verdict = judge(evidence, Limits.model_validate(config["limits"]))
    told = {
        **numbers,
        "run": _told(config, manifest),
        "verdict": verdict.told(),
        "calibration": _without_plots(found),
        "prefix_cache": manifest.get("prefix_cache"),
    }
    if found is not None and found["from"] == "ledger":
        whole = {
            "schema": accuracy.SCHEMA,
            "date": manifest.get("ended", manifest["started"]),
            "version": version,
            "shape": shape.to_json(),
            "verdict": verdict.told(),
            "accuracy": str(verdict.of("calibration")),
            "run": told["run"],
            **found,
        }
        directory.write(CERTIFICATE, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        directory.write(CERTIFICATE_PAGE, certificate_page.render(whole).encode())
    directory.write(SUMMARY, orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    directory.write(REPORT, html.render(told).encode())
    return Result(directory, told, verdict, exit_status(told, config, manifest))


def _calibration(
    directory: RunDirectory, numbers: dict[str, Any], start_ns: int, config: dict[str, Any], manifest: dict[str, Any]
) -> dict[str, Any] | None:
    """What the ledger says of the numbers; None where there is none."""
    mock = directory.mock()
    return accuracy.certificate(
        directory,
        numbers,
        {metric.key: metric.of for metric in REQUEST_METRICS.values()},
        start_ns=start_ns,
        shared_clock=mock.get("clock") != "other",
        truth=mock.get("truth"),
        planned=planned_arrivals(config),
        begun_ns=manifest["start_ns"],
    )


def planned_arrivals(config: dict[str, Any]) -> Iterator[int] | None:
    """The arrivals of mode rate, drawn again from a stored configuration; None in other modes."""
    if config["mode"] != "rate":
        return None
    return ARRIVALS[config["arrivals"]](config["rate"], config["burstiness"], stream(config["seed"], "arrivals"))


def _without_plots(calibration: dict[str, Any] | None) -> dict[str, Any] | None:
    """The plots of a certificate stand in certificate.json alone."""
    return None if calibration is None else {key: value for key, value in calibration.items() if key != "plots"}


def exit_status(summary: dict[str, Any], config: dict[str, Any], manifest: dict[str, Any]) -> Exit:
    """The exit status that a run stands for: of all that hold, the first in PRECEDENCE."""
    counts = summary["counts"]
    found = {Exit.GOOD}
    if manifest.get("stop_reason") == "interrupted":
        found.add(Exit.INTERRUPTED)
    if not counts["succeeded"] and counts["failed"]:
        found.add(Exit.TARGET)
    if summary["verdict"]["status"] == Status.INVALID:
        found.add(Exit.INVALID)
    if summary["slo"]["held"] is False or too_many_errors(counts, config):
        found.add(Exit.OBJECTIVE_FAILED)
    return next(status for status in PRECEDENCE if status in found)


def too_many_errors(counts: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether more requests failed than --max-errors allows."""
    limit = config.get("max_errors")
    if limit is None:
        return False
    failed = counts["failed"]
    if limit.endswith("%"):
        tried = failed + counts["succeeded"]
        return bool(tried) and failed / tried > float(limit[:-1]) / 100
    return bool(failed > int(limit))


def _facts(config: dict[str, Any], manifest: dict[str, Any], directory: RunDirectory) -> RunFacts:
    start_ns = manifest.get("run_start_ns")
    if start_ns is None:  # The run was killed before it could say: its first request will do.
        intended = [record.intended_ns for record in directory.records() if record.phase == "run"]
        start_ns = min(intended, default=manifest["start_ns"])
    return RunFacts(
        mode=config["mode"],
        endpoint=config["endpoint"],
        start_ns=start_ns,
        seed=config["seed"],
        planned=manifest.get("planned", config["requests"]),
        offered_rps=config["rate"],
        concurrency=config["concurrency"],
        max_concurrency=config["max_concurrency"],
        ramp_s=config["ramp"],
        objectives=objectives.parse(config["slo"]),
    )


def _told(config: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """The `run` block of summary.json."""
    return {
        "name": config["name"],
        "id": manifest["run_id"],
        "url": config["url"],
        "endpoint": config["endpoint"],
        "model": manifest["model"],
        "mode": config["mode"],
        "started": manifest["started"],
        "seed": config["seed"],
        "stop_reason": manifest.get("stop_reason", "killed"),
        "notes": manifest.get("notes", []),
        "command": manifest["command"],
        "versions": manifest["versions"],
        "host": manifest["host"],
        "config": config,
    }
