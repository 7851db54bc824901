"""The three runs of quality, made from its flags; problems with them; and the exit status of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.answer_quality.measure import exit_of
from bench.answer_quality.options import Plan, plan
from bench.answers.compared import ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from bench.config import resolve
from bench.errors import Exit, UsageError
from bench.results.quality import QualityRun
from promptset.probes import make_probes, parse_probes
from tests.support.made_answers import Change, answered

GIVEN = {
    "url": "https://h", "api_key": "k", "header": ("A: b",), "rate": 20.0, "duration": 60.0, "warmup": "5s",
    "slo": ("ttft:p99<1s",), "probes": "canary=12", "seed": 7, "timeout": 9.0, "cancel": "share=10%,after=1s",
    "extra_body": {"top_k": 1},
}  # fmt: skip


def planned(own: dict[str, str] | None = None, **given: Any) -> Plan:
    settings = {**GIVEN, **given}
    return plan(settings, own or {}, lambda of_quality: resolve({**settings, **of_quality}))


def test_the_runs_without_load_ask_each_probe_by_itself() -> None:
    runs = planned({"alone": "3"}).runs(Path("runs/q"))
    assert list(runs) == ["alone", "loaded", "back"]
    assert [run.out for run in runs.values()] == ["runs/q/alone", "runs/q/loaded", "runs/q/back"]
    alone, back = runs["alone"], runs["back"]
    assert (alone.requests, back.requests) == (36, 12)
    for run in (alone, back):
        assert (run.mode, run.concurrency, run.rate, run.duration, run.warmup) == ("concurrency", 1, None, None, "0")
        assert (run.check_answers, run.probes, run.seed) == (1.0, "canary=12", 7)
        assert (run.slo, run.cancel, run.workers) == ((), None, "1")
        # All runs use the same server with the same flags.
        assert (run.url, run.header, run.timeout, run.extra_body) == ("https://h", ("A: b",), 9.0, {"top_k": 1})
        assert run.api_key is not None
        assert run.api_key.get_secret_value() == "k"


def test_the_loaded_run_is_as_it_was_asked_for_with_a_share_of_probes() -> None:
    loaded = planned({"share": "10%"}).runs(Path("runs/q"))["loaded"]
    assert (loaded.mode, loaded.rate, loaded.duration, loaded.slo) == ("rate", 20.0, 60.0, ("ttft:p99<1s",))
    assert loaded.check_answers == pytest.approx(0.1)
    assert planned().loaded.check_answers == pytest.approx(0.05)


def test_all_three_ask_the_same_questions() -> None:
    assert (
        len({str([probe.messages for probe in run.make_probes()]) for run in planned().runs(Path("q")).values()}) == 1
    )


@pytest.mark.parametrize(
    ("own", "given", "said"),
    [
        ({"alone": "1"}, {}, "--alone 1: give a whole number from 2 to 100"),
        ({"alone": "x"}, {}, "--alone x: give"),
        ({"margin": "0"}, {}, "--margin 0: not a share between 0 and 1"),
        ({"margin": "5"}, {}, "--margin 5: not a share between 0 and 1"),
        ({"share": "100%"}, {}, "--share 100%: the loaded run needs other requests than probes"),
        ({"share": "much"}, {}, "'much' is not a share of the requests"),
        ({}, {"store_texts": True}, "--store-texts cannot be combined with quality"),
        ({}, {"until": ("ttft:p50=5%",)}, "--until cannot be combined with quality"),
        ({}, {"probes": "no-such.jsonl"}, "no-such.jsonl"),
    ],
)
def test_what_is_wrong_is_told(own: dict[str, str], given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned(own, **given)
    assert said in str(refused.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        planned({"alone": "1", "margin": "9"}, store_texts=True)
    assert len(refused.value.problems) == 3


CONFIG = resolve({"url": "http://h"})
PROBES = make_probes(parse_probes("canary=60"), seed=0)


def _status(change: Change | None, *, strict: bool = False, status: str = "VALID", done: bool = True) -> Exit:
    kept = {"alone": answered(PROBES, 2), "loaded": answered(PROBES, 1, change), "back": answered(PROBES)}
    answers = ThreePhases(PROBES, *kept.values())
    runs = [QualityRun(name=name, phase=name, status=status, reasons=(), answers=60, failed=0) for name in kept]
    made = Plan(CONFIG, 60, 2, 0.01, strict)
    return exit_of(made, runs, compare(answers) if done else None, cross_talk(PROBES, kept) if done else None)


@pytest.mark.parametrize(
    ("change", "status", "strict", "found"),
    [
        (None, "VALID", False, Exit.GOOD),
        (None, "SUSPECT", False, Exit.GOOD),
        # Sixty probes are too few to exclude a fall of 1%.
        (None, "VALID", True, Exit.OBJECTIVE_FAILED),
        (lambda probe, _: "no", "VALID", False, Exit.OBJECTIVE_FAILED),
        (lambda probe, _: f"{probe.answer}.", "VALID", False, Exit.GOOD),
        (lambda probe, _: f"{probe.answer}.", "VALID", True, Exit.OBJECTIVE_FAILED),
        (lambda probe, _: "no", "INVALID", False, Exit.INVALID),
        (lambda probe, _: "no", "FAILED", False, Exit.TARGET),
        # Cross-talk is proof of an error even in an INVALID run.
        (lambda probe, _: PROBES[3].answer if probe is PROBES[5] else "", "INVALID", False, Exit.OBJECTIVE_FAILED),
    ],
)
def test_the_exit_status_is_that_of_a_gate(change: Change | None, status: str, strict: bool, found: Exit) -> None:
    assert _status(change, strict=strict, status=status) is found


def test_a_rise_is_no_fault() -> None:
    wrong = answered(PROBES, 2, lambda probe, _: "no")
    better = compare(ThreePhases(PROBES, wrong, answered(PROBES), answered(PROBES, 1, lambda probe, _: "no")))
    assert {row.name: row.decision for row in better.measures}["right"] == "changed"
    assert exit_of(Plan(CONFIG, 60, 2, 0.01), [], better, None) is Exit.GOOD
