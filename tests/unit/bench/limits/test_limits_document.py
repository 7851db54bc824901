"""The table that `python -m bench limits` prints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.commands import limits as limits_command
from bench.errors import Exit, UsageError
from bench.limits.ladder import CLIENT_SIGNS, LADDERS, NO_MORE, NO_TIME, Climb, Step
from bench.limits.limits_document import limits_document
from bench.limits.result import CEILINGS, MachineLimits
from bench.report import text as report


def climb(*loads: tuple[float, str | None], late: bool = False, ended: str, disturbed: bool = False) -> Climb:
    steps = [
        Step(
            asked=round(load),
            load=load,
            client_cpu=0.29,
            server_cpu=None,
            lateness_ms=(0.0421, 0.3049) if late else None,
            disturbed=disturbed,
            signs={},
            cause=cause,
        )
        for load, cause in loads
    ]
    return Climb(steps=tuple(steps), ended=ended)


CPU = CLIENT_SIGNS["cpu"]
CLIMBS = {
    "chunks": {"the mock": climb((24000.0, None), (49154.1, None), (90000.0, CPU), ended=CPU)},
    "requests": {"the mock": climb((2037.4, None), (4015.0, CPU), late=True, ended=CPU)},
    "streams": {"the mock": climb(ended=NO_TIME)},
}
REACHED = climb((5000.0, None), ended=NO_MORE)


def result(**climbs: Climb) -> MachineLimits:
    host: dict[str, str | int] = {"name": "here", "cpu": "A Processor", "processors": 2}
    changed = {name: {"the mock": climb} for name, climb in climbs.items()}
    return MachineLimits(
        host=host, version="0.1.0", date="2026-11-24T10:00:00+00:00", quick=True, climbs=CLIMBS | changed
    )


def render(limits: MachineLimits) -> str:
    return report.render(limits_document(limits))


def row(text: str, start: str, after: str) -> list[str]:
    """The words of the first line with this start, below the line that starts with `after`."""
    below = text.partition(after)[2]
    return next(line for line in below.splitlines() if line.startswith(start)).split()


def test_each_ladder_shows_what_held_and_what_gave_way() -> None:
    text = render(result())
    assert row(text, "  against the mock", LADDERS["chunks"].title)[3:] == [
        "49,154",
        "29%",
        "–",
        *CLIENT_SIGNS["cpu"].split(),
    ]
    assert row(text, "  against the mock", LADDERS["streams"].title)[3:] == ["nothing", "–", "–", *NO_TIME.split()]


PAGE = """\
here: A Processor, 2 processors; one worker, on 2026-11-24

                                       Held Client CPU Server CPU Limited by
chunks/s, a chunk every 20 ms a
stream
  against the bare source            49,154        29%        40% nothing: the last step was reached
  against the mock                  nothing          –          – the time for this was over
requests/s, open loop, one token
  against the mock                    2,037        29%          – the client's processor
streams at once, a chunk every 500
ms
  against the mock                    5,000        29%          – nothing: the last step was reached

Send lateness, open loop (ms)  Requests/s    P50    P99
  against the mock                  2,037  0.042  0.305
  against the mock                  4,015  0.042  0.305

Trust one worker of this machine up to 49,154 chunks/s, 2,037 requests/s, 5,000 streams. No higher
load was seen to hold.
"""


def test_a_page_of_limits_to_the_letter() -> None:
    # The last step was slower than the one before.
    best = climb((24000.0, None), (49154.1, None), (30000.0, None), ended=NO_MORE)
    steps = tuple(replace(step, server_cpu=0.4) for step in best.steps)
    of_chunks = {"the bare source": replace(best, steps=steps), "the mock": climb(ended=NO_TIME)}
    text = render(
        replace(result(streams=REACHED), climbs={**CLIMBS, "streams": {"the mock": REACHED}, "chunks": of_chunks})
    )
    assert text.strip() == PAGE.strip()


def test_lateness_is_shown_for_each_rate() -> None:
    text = render(result())
    assert row(text, "  against the mock", "Send lateness")[3:] == ["2,037", "0.042", "0.305"]
    assert len([line for line in text.splitlines() if line.endswith("0.305")]) == 2


def test_the_sentence_says_how_far_to_trust_results() -> None:
    assert "up to 49,154 chunks/s, 2,037 requests/s, 5,000 streams." in render(result(streams=REACHED))
    assert "up to 49,154 chunks/s, 2,037 requests/s." in render(result())
    failed = climb((500.0, CPU), ended=CPU)
    assert "Not even" in render(result(chunks=failed, requests=failed, streams=failed))


@pytest.mark.parametrize("disturbed", [True, False])
def test_a_busy_machine_is_mentioned(disturbed: bool) -> None:
    text = render(result(streams=climb((5000.0, None), ended=NO_MORE, disturbed=disturbed)))
    assert ("Other programs kept the machine busy" in text) is disturbed
    assert "Trust one worker of this machine up to" in text


def test_a_long_reason_is_broken_and_no_line_is_too_wide() -> None:
    long = "40,000 requests in flight need 40,064 open files, and the limit here is 20,000: raise it"
    text = render(result(streams=climb(ended=long)))
    assert max(map(len, text.splitlines())) <= 100
    assert all(word in text for word in long.split())


def test_the_json_has_the_ceiling_of_the_better_server_and_every_step() -> None:
    found = replace(
        result(), climbs=CLIMBS | {"streams": {"the bare source": REACHED, "the mock": climb(ended=NO_TIME)}}
    )
    told = found.to_json()
    assert told["ceiling"] == {"chunks_per_s": 49154.1, "requests_per_s": 2037.4, "streams": 5000.0}
    assert list(told["ladders"]["streams"]) == ["the bare source", "the mock"]
    chunks = told["ladders"]["chunks"]["the mock"]
    assert (chunks["held"], chunks["client_limited"], chunks["ended"], len(chunks["steps"])) == (49154.1, True, CPU, 3)
    assert chunks["steps"][2]["cause"] == CPU
    assert (told["quick"], told["disturbed"], told["date"]) == (True, False, "2026-11-24T10:00:00+00:00")


@pytest.mark.parametrize(
    ("words", "kept"),
    [(["--quick"], "trueload/limits.json"), (["--out", "{}/mine.json"], "mine.json"), (["--no-store"], None)],
)
def test_the_command_prints_what_it_measured_and_keeps_it_for_later_runs(
    words: list[str],
    kept: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[bool] = []
    nothing = result(**dict.fromkeys(CLIMBS, climb(ended=NO_TIME)))

    def measured(*, quick: bool, observer: object) -> MachineLimits:
        asked.append(quick)
        return result() if len(asked) == 1 else nothing

    monkeypatch.setattr("bench.limits.measure.measure", measured)
    words = [word.format(tmp_path) for word in words]
    assert limits_command.main(words) == Exit.GOOD
    said = capsys.readouterr()
    assert said.out == render(result())
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")] == ([] if kept is None else [kept])
    assert (f"kept in {tmp_path / kept}" in said.err) if kept is not None else ("kept" not in said.err)
    assert limits_command.main([*words, "--format", "json"]) == Exit.INVALID
    assert json.loads(capsys.readouterr().out)["ceiling"] == dict.fromkeys(CEILINGS.values())
    assert asked == ["--quick" in words] * 2
    with pytest.raises(UsageError, match="use only one of them"):
        limits_command.main(["--no-store", "--out", "x.json"])
