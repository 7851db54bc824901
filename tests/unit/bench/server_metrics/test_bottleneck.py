"""What limited a server, sentence by sentence, on both sides of each border."""

from __future__ import annotations

from typing import Any

import pytest

from bench.server_metrics.block import NOT_SEEN, Sent, sentences
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS

S = 1_000_000_000
RUNNING, WAITING, KV = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"


def series(*pages: dict[str, float], every_s: float = 1.0) -> ServerSeries:
    found = ServerSeries(SERVERS)
    for number, values in enumerate(pages):
        at = round(number * every_s * S)
        found.add(Scrape(t_ns=at, asked_ns=at, page=0, values=values))
    return found


def said(*pages: dict[str, float], sent: Sent | None = None, seconds: float = 1.0, **how: Any) -> list[str]:
    return sentences(series(*pages, every_s=seconds), 0, round(seconds * S), sent or Sent(), **how)


def level(**levels: float) -> list[dict[str, float]]:
    """Two pages with the same levels."""
    names = {"running": RUNNING, "waiting": WAITING, "kv": KV}
    return [{names[name]: value for name, value in levels.items()}] * 2


MEMORY = (
    "memory of the KV cache was the limit: 0.5 requests waited on average (at most 0) while up to 95% of it was in use"
)
MORE = "3.0 requests waited on average (at most 3): the server had more requests than it took in"
LIMIT = (
    "the limit on requests or on tokens a step (vLLM: --max-num-seqs, --max-num-batched-tokens) held the others back"
)


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        ({"running": 8, "waiting": 0.5, "kv": 0.95}, MEMORY),
        ({"waiting": 0.5, "kv": 0.95}, MEMORY),
        ({"running": 8, "waiting": 3, "kv": 0.949},
         f"3.0 requests waited on average (at most 3) while 8.0 ran and at most 95% of the KV cache was in use: {LIMIT}"),
        ({"running": 8, "waiting": 3}, f"3.0 requests waited on average (at most 3) while 8.0 ran: {LIMIT}"),
        ({"waiting": 3, "kv": 0.5}, MORE),
        ({"waiting": 3}, MORE),
    ],
)  # fmt: skip
def test_requests_that_wait_name_what_holds_them_back(levels: dict[str, float], sentence: str) -> None:
    (found,) = said(*level(**levels))
    assert found.startswith(sentence)


@pytest.mark.parametrize("levels", [{"waiting": 0.49, "running": 8}, {"running": 8}, {"waiting": 0, "running": 0}])
def test_a_passing_moment_is_no_queue(levels: dict[str, float]) -> None:
    assert said(*level(**levels)) == []


def test_levels_that_nobody_read_meanwhile_are_not_known() -> None:
    pages = level(running=8, waiting=30)
    assert said(*pages, seen=False) == [NOT_SEEN]
    assert said(*level(kv=0.5), seen=False) == [NOT_SEEN]
    assert said(*[{"vllm:prompt_tokens_total": 1.0}] * 2, seen=False) == []
    assert said(
        {**pages[0], "vllm:num_preemptions_total": 0.0}, {**pages[0], "vllm:num_preemptions_total": 2.0}, seen=False
    )[1].startswith("2 requests were preempted")


def times(prefill_s: float | None, decode_s: float | None, requests: int = 4) -> list[dict[str, float]]:
    def page(n: int) -> dict[str, float]:
        found = {}
        for name, mean in (("prefill", prefill_s), ("decode", decode_s)):
            if mean is not None:
                found[f"vllm:request_{name}_time_seconds_sum"] = mean * n
                found[f"vllm:request_{name}_time_seconds_count"] = float(n)
        return found

    return [page(0), page(requests)]


@pytest.mark.parametrize(
    ("pages", "share"),
    [
        (times(0.25, 0.25), "50%"),
        (times(0.24, 0.26), None),
        (times(0.9, 0.1), "90%"),
        (times(0.5, 0.0), "100%"),
        (times(0.0, 0.0), None),
        (times(0.5, None), None),
        (times(None, 0.5), None),
        (times(0.5, 0.1, 0), None),
    ],
)
def test_prefill_that_takes_half_of_the_time_is_told(pages: list[dict[str, float]], share: str | None) -> None:
    found = said(*pages)
    assert [sentence.partition(" of ")[0] for sentence in found] == ([] if share is None else [f"prefill took {share}"])
    if share == "90%":
        assert "(900 ms of 1000 ms on average)" in found[0]


def test_a_time_without_requests_of_its_own_is_not_compared() -> None:
    prefill, decode = times(0.5, None), times(None, 0.1, 0)
    assert said(*({**a, **b} for a, b in zip(prefill, decode, strict=True))) == []
    prefill, decode = times(0.5, None, 0), times(None, 0.1)
    assert said(*({**a, **b} for a, b in zip(prefill, decode, strict=True))) == []


CHANCE = "nothing waited inside the server, 8.0 ran on average: it could take more at once"
FRONT = "nothing waited inside the server, 8.0 ran on average, and yet "


@pytest.mark.parametrize(
    ("sent", "seconds", "is_front"),
    [
        # At 100 per second over 4 s, 8 still run, and arrivals vary by three times the root of 400: 68 may be missing.
        (Sent(100.0, 83.0), 4, False),
        (Sent(100.0, 82.9), 4, True),
        (Sent(100.0, 10.0), 1, True),
        # A twentieth is no shortage, however many requests that is: 5% of 10,000 per second over 100 s are 50,000.
        (Sent(10_000.0, 9500.0), 100, False),
        (Sent(10_000.0, 9499.0), 100, True),
        (Sent(None, 10.0), 4, False),
        (Sent(100.0, None), 4, False),
        (Sent(), 4, False),
    ],
)
def test_what_is_missing_beyond_chance_is_held_back_in_front_of_the_server(
    sent: Sent, seconds: float, is_front: bool
) -> None:
    (found,) = said(*level(running=8, waiting=0), sent=sent, seconds=seconds)
    assert found.startswith(FRONT) if is_front else found == CHANCE


@pytest.mark.parametrize(("answered", "is_front"), [(85.0, False), (84.9, True)])
def test_without_a_count_of_what_runs_only_chance_explains_what_is_missing(answered: float, is_front: bool) -> None:
    (found,) = said(*level(waiting=0), sent=Sent(100.0, answered), seconds=4)
    assert found.startswith("nothing waited inside the server, and yet ") is is_front
    assert found.startswith("nothing waited inside the server") is True


def test_the_cause_comes_first() -> None:
    prefill = times(0.9, 0.1)
    pages = [
        {**page, RUNNING: 8.0, WAITING: 3.0, "vllm:num_preemptions_total": 5.0 * place}
        for place, page in enumerate(prefill)
    ]
    assert [sentence.partition(" ")[0] for sentence in said(*pages)] == ["3.0", "5", "prefill"]
    assert said({"vllm:num_preemptions_total": 7.0}, {"vllm:num_preemptions_total": 7.0}) == []


def test_a_moment_in_which_something_waited_is_no_free_server() -> None:
    assert said({RUNNING: 8.0, WAITING: 0.0}, {RUNNING: 8.0, WAITING: 0.4}) == []
    assert said({RUNNING: 0.0, WAITING: 0.0}, {RUNNING: 0.4, WAITING: 0.0}) == [
        "nothing waited inside the server, 0.2 ran on average: it could take more at once"
    ]
