"""The table that `python -m bench limits` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench.limits.ladder import CLIENT_SIGNS, LADDERS, NO_TIME, Climb, Step
from bench.limits.table import WIDTH, render

CEILING = {"chunks_per_s": 49154.1, "requests_per_s": 2037.4, "streams": 5000.0}


def climbed(*loads: tuple[float, str | None], late: bool = False, ended: str) -> dict[str, Any]:
    steps = [
        Step(
            asked=round(load),
            load=load,
            client_cpu=0.29,
            server_cpu=None,
            lateness_ms=(0.0421, 0.3049) if late else None,
            disturbed=False,
            signs={},
            cause=cause,
        )
        for load, cause in loads
    ]
    found = Climb(steps=tuple(steps), ended=ended)
    return {"held": found.held, "client_limited": found.client_limited, **asdict(found)}


def result(**changes: Any) -> dict[str, Any]:
    cpu = CLIENT_SIGNS["cpu"]
    ladders = {
        "chunks": {"the mock": climbed((24000.0, None), (49154.1, None), (90000.0, cpu), ended=cpu)},
        "requests": {"the mock": climbed((2037.4, None), (4015.0, cpu), late=True, ended=cpu)},
        "streams": {"the mock": climbed(ended=NO_TIME)},
    }
    host = {"name": "here", "cpu": "A Processor", "processors": 2}
    return {"host": host, "date": "2026-11-24T10:00:00+00:00", "disturbed": False, "ceiling": CEILING,
            "ladders": ladders, **changes}  # fmt: skip


def row(text: str, start: str, after: str) -> list[str]:
    """The words of the first line that begins so, below the line that begins with `after`."""
    below = text.partition(after)[2]
    return next(line for line in below.splitlines() if line.startswith(start)).split()


def test_each_ladder_shows_what_held_and_what_gave_way() -> None:
    text = render(result())
    assert row(text, "  against the mock", LADDERS["chunks"].title)[3:] == [
        "49,154",
        "29",
        "%",
        "–",
        *CLIENT_SIGNS["cpu"].split(),
    ]
    assert row(text, "  against the mock", LADDERS["streams"].title)[3:] == ["nothing", "–", "–", *NO_TIME.split()]


def test_lateness_is_shown_for_each_rate() -> None:
    text = render(result())
    assert row(text, "  against the mock", "sends late")[3:] == ["2,037", "0.042", "0.305"]
    assert len([line for line in text.splitlines() if line.endswith("0.305")]) == 2


def test_the_sentence_says_how_far_results_can_be_trusted() -> None:
    assert "up to 49,154 chunks/s, 2,037 requests/s, 5,000 streams;" in render(result())
    partly = render(result(ceiling={**CEILING, "streams": None}))
    assert "up to 49,154 chunks/s, 2,037 requests/s;" in partly
    assert "Not even" in render(result(ceiling=dict.fromkeys(CEILING)))


@pytest.mark.parametrize("disturbed", [True, False])
def test_a_busy_machine_is_told(disturbed: bool) -> None:
    assert ("Other programs kept the machine busy" in render(result(disturbed=disturbed))) is disturbed


def test_a_long_reason_is_broken_and_no_line_is_too_wide() -> None:
    long = "40,000 requests in flight need 40,064 open files, and the limit here is 20,000: raise it"
    ladders = {**result()["ladders"], "streams": {"the mock": climbed(ended=long)}}
    text = render(result(ladders=ladders))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(word in text for word in long.split())
