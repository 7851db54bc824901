"""The fit of servers with several tokens per step, of few runs, and with limits from the user."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest

from bench.fit.batching import BatchingFit, Given, fit_batching
from bench.fit.streams import Stream
from bench.results.profile import FittedLimit
from tests.support.step_server import StepServer, closed_loop

pytestmark = pytest.mark.usefixtures("few_resamples")

B0, B1, B2 = 6000.0, 20.0, 40.0


@dataclass
class _Reply:
    sent: float
    prompt: int
    left: int
    stamps: list[float]
    tokens: list[int]


def drafting(users: int, requests: int, drafts: int, acceptance: float) -> list[Stream]:
    """A server that computes `drafts` draft tokens with each decode, and returns the accepted tokens one after the
    other.

    Each user sends the next request with the last token of the previous one; the server takes it into the step after
    the next.
    """
    chance = Random(users)

    def accepted() -> int:
        given = 0
        while given < drafts and chance.random() < acceptance:
            given += 1
        return given

    now = 0.0
    running: list[_Reply] = []
    done: list[_Reply] = []
    coming = [_Reply(0.0, 60 + 7 * user, 20, [], []) for user in range(users)]
    while len(done) < requests:
        fresh = [reply for reply in coming if reply.sent <= now - 500]
        coming = [reply for reply in coming if reply.sent > now - 500]
        if not (fresh or running):
            now += 500
            continue
        prefill = sum(reply.prompt for reply in fresh)
        now += B0 + B1 * prefill + B2 * (1 + drafts) * len(running) + abs(chance.gauss(0, 20))
        for reply in running:
            count = min(reply.left, 1 + accepted())
            reply.stamps.append(now)
            reply.tokens.append(count)
            reply.left -= count
        for reply in fresh:
            reply.stamps.append(now)
            reply.tokens.append(1)
            reply.left -= 1
        running += fresh
        for reply in [reply for reply in running if not reply.left]:
            running.remove(reply)
            done.append(reply)
            coming.append(_Reply(now + 150, 40 + chance.randrange(300), 20 + chance.randrange(60), [], []))
    streams = [Stream(r.sent, r.stamps[-1], r.prompt, 0, tuple(r.stamps), tuple(r.tokens), sure=True) for r in done]
    return sorted(streams, key=lambda stream: stream.sent_us)


@functools.cache
def drafted() -> BatchingFit:
    return fit_batching([drafting(users, 12 + 6 * users, 3, 0.6) for users in (1, 4, 12)], Random(1))


def test_drafts_cost_as_much_as_decodes_and_their_acceptance_is_found() -> None:
    fit = drafted()
    assert (fit.chunks, fit.drafts, fit.stream_interval) == ("drafts", 3, 1)
    assert fit.acceptance == pytest.approx(0.6, abs=0.03)
    assert fit.steps.values[:3] == pytest.approx((B0, B1, B2), rel=0.03)
    assert fit.limits.max_num_seqs == FittedLimit(None, 12, "unknown"), "drafts do not count as requests"


def test_a_server_of_single_tokens_has_no_drafts() -> None:
    fit = fit_batching([quick()], Random(1))
    assert (fit.chunks, fit.drafts, fit.acceptance, fit.stream_interval) == ("single", 0, None, 1)


@functools.cache
def _quick(users: int, tokens_a_chunk: int) -> tuple[Stream, ...]:
    return tuple(closed_loop(StepServer(), users, 1.5, outputs=(16, 48), tokens_a_chunk=tokens_a_chunk, seed=users))


def quick(users: int = 4, *, tokens_a_chunk: int = 1) -> list[Stream]:
    return list(_quick(users, tokens_a_chunk))


def test_chunks_of_several_steps_show_no_limits_and_how_many_they_hold() -> None:
    fit = fit_batching([quick(tokens_a_chunk=5), quick(2, tokens_a_chunk=5)], Random(1))
    assert (fit.chunks, fit.stream_interval, fit.drafts, fit.acceptance) == ("interval", 5, 0, None)
    unknown = [fit.limits.max_num_seqs, fit.limits.max_num_batched_tokens, fit.limits.kv_blocks]
    assert [(limit.value, limit.source) for limit in unknown] == [(None, "unknown")] * 3
    assert [limit.at_least for limit in unknown] == [0, 0, 0]
    given = fit_batching([quick(tokens_a_chunk=5)], Random(1), Given(max_num_batched_tokens=512)).limits
    assert (given.max_num_batched_tokens.value, given.max_num_batched_tokens.source) == (512, "given")


def test_the_usual_chunk_is_one_between_the_first_and_the_last() -> None:
    # Steps of 1 ms: 4 of them in a chunk, then 6, then the remaining 2.
    streams = []
    for place in range(40):
        sent = 1e5 * place
        arrivals = tuple(sent + after for after in (2000.0, 6000.0, 12_000.0, 14_000.0))
        streams.append(Stream(sent, arrivals[-1], 100, 0, arrivals, (1, 4, 6, 2), sure=True))
    fit = fit_batching([streams], Random(1))
    assert (fit.chunks, fit.stream_interval) == ("interval", 6)


def steps_of(streams: Sequence[Stream], given: Given | None = None) -> tuple[int, int]:
    fit = fit_batching([streams], Random(1), given or Given())
    return fit.steps.rows, fit.steps.steps


def test_a_gap_that_is_given_is_taken() -> None:
    # With a threshold of half a us, no two tokens share a step.
    streams = quick()
    found = steps_of(streams)
    assert steps_of(streams, Given(step_gap_us=1500.0)) == found
    with pytest.raises(ValueError, match="steps were seen from end to end"):
        steps_of(streams, Given(step_gap_us=0.5))


def test_every_run_has_its_own_gap() -> None:
    slow = [
        Stream(9 * s.sent_us, 9 * s.end_us, s.prompt_tokens, 0, tuple(9 * at for at in s.arrivals_us), s.tokens, s.sure)
        for s in quick(3)
    ]
    both = fit_batching([quick(), slow], Random(1)).steps.steps
    assert both == steps_of(quick())[1] + steps_of(slow)[1]


def test_what_is_given_is_the_limit_and_says_so() -> None:
    given = Given(max_num_seqs=3, max_num_batched_tokens=4096, kv_blocks=900)
    limits = fit_batching([quick()], Random(1), given, stated={"kv_blocks": 555}).limits
    found = [limits.max_num_seqs, limits.max_num_batched_tokens, limits.kv_blocks]
    assert [(limit.value, limit.at_least, limit.source) for limit in found] == [
        (3, 3, "given"), (4096, 4096, "given"), (900, 900, "given"),
    ]  # fmt: skip
    assert fit_batching([quick()], Random(1), stated={"kv_blocks": 555}).limits.kv_blocks.value == 555


def test_the_front_end_is_that_of_the_fitted_steps() -> None:
    front = fit_batching([quick(1), quick(1)], Random(1)).front_end
    assert front.how == "idle"
    assert front.requests >= 12
    assert front.a0.value == pytest.approx(StepServer().a0, abs=0.1 * StepServer().b0)


def test_a_budget_that_was_found_divides_the_steps_as_one_that_was_given() -> None:
    # Requests wait long before a step takes them. Without the budget, their prefill may be in any step since the send.
    server = StepServer(budget=256, seqs=4)
    runs = [closed_loop(server, users, 2.0, prompts=(40, 900), outputs=(16, 48), seed=users) for users in (4, 8)]
    found, given = (fit_batching(runs, Random(1), how) for how in (Given(), Given(max_num_batched_tokens=256)))
    assert (found.limits.max_num_batched_tokens.value, found.limits.max_num_batched_tokens.source) == (256, "steps")
    assert (found.steps.rows, found.steps.values) == (given.steps.rows, given.steps.values)
    assert found.front_end == given.front_end
