"""The server's counts of the load against the client's: the same requests, counted by two programs that share nothing.

Between the scrape before the load and the one after it lie all requests of the run, warm-up included, but not the
probe. So counts must agree exactly if nothing failed, and both mean TTFTs cover the same requests: the client's excess
is what the server does not see.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.metrics.quantile import quantile
from bench.results.server import (
    BucketAndValue,
    BucketQuantiles,
    ReconciledCount,
    ReconciledTtft,
    Reconciliation,
    ServerAndClient,
)
from bench.server_metrics.client_totals import ClientTotals, Reported
from bench.server_metrics.role_series import Histogram, ServerSeries
from bench.server_metrics.roles import TITLES, Role

_MS = 1e3


def reconcile(series: ServerSeries, client: ClientTotals) -> Reconciliation | None:
    """Both counts. Returns None if the page was not read before and after the load."""
    first, last = series.first_ns, series.last_ns
    if first is None or last is None or last <= first:
        return None
    exact = bool(series.found) and series.found[0].exact and series.restarts == 0
    counts: list[ReconciledCount] = []
    finished = series.rise(Role.FINISHED, first, last)
    if finished is not None:
        counts.append(_requests(finished, client, exact=exact))
    for role, counted in (
        (Role.PROMPT_TOKENS, client.input_tokens),
        (Role.GENERATION_TOKENS, client.output_tokens),
    ):
        server = series.rise(role, first, last)
        if server is not None and not (role is Role.GENERATION_TOKENS and client.inputs is not None):
            counts.append(_tokens(role, server, counted, client, exact=exact))
    counts += _details(series, client, first, last, exact=exact)
    aborted = series.rise(Role.ABORTED, first, last)
    if aborted is not None and (aborted or client.unsure):
        gave_up = f", of which {client.cancelled:,} were cancelled" if client.cancelled else ""
        again = f"; {client.sent_again:,} were sent again" if client.sent_again else ""
        sentence = (
            f"the server aborted {aborted:,.0f} requests; {client.unsure - client.sent_again:,} of the client's did not "
            f"succeed{gave_up}{again}"
        )
        counts.append(
            ReconciledCount(what="aborted", server=aborted, client=client.unsure, agree=None, sentence=sentence)
        )
    wrong = [line for line in counts if line.agree is False]
    return Reconciliation(
        counts=counts,
        ttft=_ttft(series.histogram(Role.TTFT, first, last), client, _mean_queue_s(series, first, last)),
        mismatch=wrong[0].sentence if wrong else None,
        off=max((_off(line) for line in wrong), default=0.0),
    )


def _off(line: ReconciledCount) -> float:
    assert line.client is not None
    return abs(line.server - line.client) / max(line.client, 1.0)


def _requests(finished: float, client: ClientTotals, *, exact: bool) -> ReconciledCount:
    if client.inputs is not None:
        return _requests_of_inputs(finished, client, client.inputs)
    more = finished - client.succeeded
    if more > client.unsure and client.incomplete:
        sentence = (
            f"the server finished {finished:,.0f} requests, and {client.succeeded + client.unsure:,} have a record: "
            f"{more - client.unsure:,.0f} lost their records with what sent them, or are somebody else's"
        )
    elif more > client.unsure:
        sentence = (
            f"the server finished {finished:,.0f} requests, of which {client.succeeded:,} are this run's: "
            f"{more - client.unsure:,.0f} are somebody else's, or were sent again by something in between"
        )
    elif more < 0:
        sentence = (
            f"the server finished {finished:,.0f} requests, and the client got {client.succeeded:,} answers: "
            "this page is not of all that answered; name every replica's with --server-metrics"
        )
    elif client.unsure:
        sentence = (
            f"the server finished {finished:,.0f} requests; of the client's {client.succeeded:,} succeeded, and it may also "
            f"have finished the {client.unsure_text}"
        )
    else:
        sentence = f"both counted {client.succeeded:,} requests"
    agree = None if not exact or (client.incomplete and more > client.unsure) else 0 <= more <= client.unsure
    return ReconciledCount(what="requests", server=finished, client=client.succeeded, agree=agree, sentence=sentence)


def _requests_of_inputs(finished: float, client: ClientTotals, inputs: int) -> ReconciledCount:
    """Servers count a request of several inputs as one, or each of its inputs; any other count may still be right."""
    if finished in (client.succeeded, inputs) and not client.unsure:
        each = "" if finished == client.succeeded else f", each of their {inputs:,} inputs as one"
        sentence, agree = f"both counted {client.succeeded:,} requests{each}", True
    else:
        outcome = f"{client.succeeded:,} of the client's succeeded, with {inputs:,} inputs"
        sentence, agree = f"the server finished {finished:,.0f} requests; {outcome}", None
    return ReconciledCount(what="requests", server=finished, client=client.succeeded, agree=agree, sentence=sentence)


def _tokens(role: Role, server: float, counted: int | None, client: ClientTotals, *, exact: bool) -> ReconciledCount:
    title = TITLES[role].lower()
    if counted is None:
        sentence = f"the server counted {server:,.0f} {title}; its replies do not say theirs"
        return ReconciledCount(what=str(role), server=server, client=None, agree=None, sentence=sentence)
    if not exact:
        sentence = f"{title}: {server:,.0f} by the server's metrics, {counted:,} by its replies"
        return ReconciledCount(what=str(role), server=server, client=counted, agree=None, sentence=sentence)
    if client.unsure:
        sentence = (
            f"{title}: {server:,.0f} by the server's metrics, {counted:,} by the replies that came; the "
            f"{client.unsure_text} have some too"
        )
        return ReconciledCount(what=str(role), server=server, client=counted, agree=None, sentence=sentence)
    if client.incomplete and server > counted:
        sentence = f"{title}: {server:,.0f} by the server's metrics, {counted:,} by the replies that have a record"
        return ReconciledCount(what=str(role), server=server, client=counted, agree=None, sentence=sentence)
    agree = server == counted
    sentence = (
        f"both counted {counted:,} {title}"
        if agree
        else f"the server counted {server:,.0f} {title}, and its replies say {counted:,}"
    )
    return ReconciledCount(what=str(role), server=server, client=counted, agree=agree, sentence=sentence)


def _details(
    series: ServerSeries, client: ClientTotals, first: int, last: int, *, exact: bool
) -> Iterator[ReconciledCount]:
    """The numbers in replies, summed, against the server's counters."""
    hits = [series.rise(role, first, last) for role in (Role.PREFIX_HITS, Role.EXTERNAL_HITS)]
    cached = None if hits[0] is None else sum(rise for rise in hits if rise is not None)
    # A preempted request looks its prompt up again, which versions count differently.
    preempted = series.rise(Role.PREEMPTIONS, first, last) or 0
    for name, title, server, tally, twice in (
        ("cached_tokens", "cached prompt tokens", cached, client.cached_tokens, preempted > 0),
        ("draft_steps", "steps with drafts", series.rise(Role.DRAFT_STEPS, first, last), client.draft_steps, False),
        ("draft_tokens", "draft tokens", series.rise(Role.DRAFT_TOKENS, first, last), client.draft_tokens, False),
        (
            "accepted_tokens",
            "accepted draft tokens",
            series.rise(Role.ACCEPTED_TOKENS, first, last),
            client.accepted_tokens,
            False,
        ),
    ):
        if server is not None and tally.by:
            excuse = _excuse(tally, client, twice=twice)
            yield _detail(name, title, server, tally.total, excuse if exact else "")


def _excuse(tally: Reported, client: ClientTotals, *, twice: bool) -> str | None:
    """Why the sums may differ without an error. Returns None if they may not."""
    if client.unsure:
        return f"; the {client.unsure_text} have some too"
    if client.incomplete:
        return "; requests whose records were lost have some too"
    if tally.silent:
        return f"; replies that do not say theirs: {tally.silent:,}"
    return "; the server preempted requests, and may count their prompts again" if twice else None


def _detail(name: str, title: str, server: float, client: int, excuse: str | None) -> ReconciledCount:
    """`excuse` empty: the server counts in its own way."""
    agree: bool | None = server == client
    if agree and excuse != "":
        sentence = f"both counted {client:,} {title}"
    elif excuse is not None:
        sentence, agree = f"{title}: {server:,.0f} by the server's metrics, {client:,} by its replies{excuse}", None
    else:
        sentence = f"the server counted {server:,.0f} {title}, and its replies say {client:,}"
    return ReconciledCount(what=name, server=server, client=client, agree=agree, sentence=sentence)


def _mean_queue_s(series: ServerSeries, first: int, last: int) -> float | None:
    histogram = series.histogram(Role.QUEUE, first, last)
    return None if histogram is None else histogram.mean_s


def _ttft(server: Histogram | None, client: ClientTotals, queue_s: float | None) -> ReconciledTtft | None:
    """TTFT by both, in ms. A quantile of the server's is known to the width of a bucket; its mean is exact."""
    mean, client_mean = (None if server is None else server.mean_s), client.ttft_mean_s
    if server is None or mean is None or client_mean is None:
        return None
    more = (client_mean - mean) * _MS
    same = round(server.count) == len(client.ttfts_s)
    beyond = (
        f"but of {round(server.count):,} requests there and {len(client.ttfts_s):,} here, so that this says little"
        if not same
        else "network, HTTP, and what the server does with a request before its own clock starts"
        if more >= 0
        else "the server's clock starts before the request was sent, or the page counts requests that are not this run's"
    )
    return ReconciledTtft(
        requests=ServerAndClient(server=server.count, client=len(client.ttfts_s)),
        same_requests=same,
        mean_ms=ServerAndClient(server=mean * _MS, client=client_mean * _MS),
        quantiles_ms=BucketQuantiles(
            **{
                name: BucketAndValue(server=_bounds_ms(server.quantile_s(p)), client=quantile(client.ttfts_s, p) * _MS)
                for name, p in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
            }
        ),
        queue_mean_ms=None if queue_s is None else queue_s * _MS,
        difference_ms=more,
        sentence=f"the client's mean TTFT is {more:+.2f} ms from the server's{': ' if same else ', '}{beyond}",
    )


def _bounds_ms(bounds: tuple[float, float | None] | None) -> list[float | None] | None:
    return None if bounds is None else [bounds[0] * _MS, None if bounds[1] is None else bounds[1] * _MS]
