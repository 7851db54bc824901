"""Everything that is only counted: requested and received tokens, errors, whether the target was gone, and the quality
of the client's stamps."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import compress

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.histogram import LogHistogram, Snapshot
from bench.metrics.kinds import KindTally
from bench.metrics.quantile import describe
from bench.metrics.request_metrics import input_tokens
from bench.metrics.token_gaps import Pauses, stalls
from bench.records import Outcome, RequestRecord
from bench.records.record_table import Ints, Mask, RecordTable
from bench.results.load import Coalesced, Stalls, StampBounds, StampClocks
from bench.results.numbers import Statistics
from bench.results.summary import ErrorCount, TargetGone
from bench.results.tokens import (
    AskedAgainstGot,
    CachedTokens,
    CountedBy,
    CountedTokens,
    Difference,
    InputOutput,
    Mismatch,
    OverLimit,
    PromptTokens,
    Reported,
    TokenChunks,
    Tokens,
)

WIDE_BOUND_NS = 100_000
"""A stamp whose bound is wider than this, and than 1% of the median gap, counts as wide."""

GONE_FROM = 5
"""This many requests lost at the end of a run, with no answer after them, are not an accident."""

COMMON_HEAD = 15
"""The most tokens that a chat template may put before every prompt. They are shared but not planned, and less than a
block."""

LATE_RETRY_NS = 10 * NS_PER_MS
_NO_ANSWER = frozenset(
    {Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.TIMEOUT_FIRST_BYTE, Outcome.RESET, Outcome.TRUNCATED}
)
_NOT_HEARD = _NO_ANSWER | {Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED}

_ERRORS_SHOWN = 50
_ERROR_TEXTS_HELD = 1_000
_ERROR_TEXT_LENGTH = 500


def _have_hidden_tokens(table: RecordTable) -> Mask:
    """Which replies have tokens that are not visible in their text: the marks around a tool call, or reasoning that is
    kept back."""
    shown = np.array(["t" in kinds for kinds in table.column("chunk_kind")], dtype=np.bool_)
    return (table.ints("tool_calls") > 0) | ((table.ints("reasoning_tokens") > 0) & (table.sizes > 0) & ~shown)


def _as_list(reason: tuple[int, str] | None) -> list[tuple[int, str]]:
    return [] if reason is None else [reason]


class RecordTally:
    """Folds the records of the run phase."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._clocks: Counter[str] = Counter()
        self._counted_by: Counter[str] = Counter()
        self._errors: Counter[tuple[Outcome, int, str]] = Counter()
        self._kinds = KindTally()
        self._bounds = LogHistogram()
        self._bounds.fold()
        self._connects_ms = array("d")
        self._lost_ns = array("q")
        self._heard_ns: int | None = None
        self._stall_max_ns = 0
        # By index, so that the order of the records does not matter.
        self._first_contradiction: tuple[int, str] | None = None
        self._first_doubt: tuple[int, str] | None = None

    def add(self, table: RecordTable) -> None:
        """Count the properties of every request, failed or not."""
        count, end_ns = self._count, table.ints("end_ns")
        has_sent, sent_ns = table.known("sent_ns")
        self._clocks.update(compress(table.column("clock"), has_sent.tolist()))
        answered, byte_ns = table.known("first_byte_ns")  # A reply that broke off later was an answer, too.
        heard_ns = np.concatenate([end_ns[~table.ended(_NOT_HEARD)], byte_ns[answered]])
        if len(heard_ns):
            last_ns = int(heard_ns.max())
            self._heard_ns = last_ns if self._heard_ns is None else max(self._heard_ns, last_ns)
        lost = table.ended(_NO_ANSWER)
        self._lost_ns.frombytes(end_ns[lost].tobytes())
        count["unsent"] += int((lost & ~has_sent).sum())
        again, (resent, resent_ns) = table.ints("attempts") > 1, table.known("resent_ns")
        count["retried"] += int(again.sum())
        count["retried_late"] += int((again & has_sent & resent & (resent_ns - sent_ns > LATE_RETRY_NS)).sum())
        connect_ns = table.ints("connect_ns")
        self._connects_ms.frombytes((connect_ns[connect_ns != 0] / NS_PER_MS).tobytes())
        count["chunks"] += int(table.sizes.sum())
        count["coalesced"] += int(table.ints("coalesced").sum())
        if table.bounded:
            at, (is_bound, bounds) = table.token_chunks.at, table.chunk_bounds
            at = at[is_bound[at]]
            self._bounds.extend(table.chunk_ns[at] - bounds[at])
        for row in np.flatnonzero(~table.ended((Outcome.OK, Outcome.DROPPED, Outcome.CANCELLED))).tolist():
            self._add_error(table.records[row])

    def add_texts(self, table: RecordTable, n: Ints, gaps: Pauses) -> None:
        """Count the n output tokens of each successful request, their token chunks, and the stalls in the gaps between
        them."""
        count, total, chunks = self._count, self._total, table.token_chunks
        sources = ["chunks" if source is None else source for source in table.column("output_tokens_from")]
        self._counted_by.update(sources)
        total["output"] += int(n.sum())
        self._kinds.add(table, n)
        self.add_input_tokens(table)
        everywhere = np.ones(len(table), dtype=np.bool_)
        self._compare("output", *table.known("output_tokens_asked"), everywhere, n)
        has_asked, asked = table.known("output_tokens_asked")
        count["over_limit"] += int((has_asked & (n > asked)).sum())
        count["texts"] += len(table)
        doubts = self._reasons(table, "output_tokens_doubt")
        count["doubted"] += len(doubts)
        self._first_doubt = min((*doubts, *_as_list(self._first_doubt)), default=None)
        (has_cached, cached), (counted, prompt) = table.known("cached_tokens"), table.known("input_tokens")
        both = has_cached & counted
        total["cached"] += int(cached[both].sum())
        total["cached_beyond"] += int((cached[both] - COMMON_HEAD).clip(0).sum())
        total["cached_of"] += int(prompt[both].sum())
        (has_prompt, prompts), (of_probe, _) = input_tokens(table), table.known("probe")
        count["prompts"] += int(has_prompt.sum())
        total["prompts"] += int(prompts[has_prompt].sum())
        total["probes"] += int(prompts[has_prompt & of_probe].sum())
        by_usage = np.array([source == "usage" for source in sources], dtype=np.bool_)
        count["output_usage"] += int(by_usage.sum())
        total["output_usage"] += int(n[by_usage].sum())
        count["usage_judged"] += int((by_usage | table.has("usage_contradiction")).sum())
        self._compare_own_count(table, n, by_usage)
        streamed = table.sizes > 0
        total["token_chunks"] += int(chunks.counts.sum())
        count["unknown_chunks"] += int((streamed & ~table.has_chunk_tokens).sum())
        several = np.bincount(chunks.row[chunks.tokens > 1], minlength=len(table)) > 0
        count["several_tokens"] += int(several.sum())
        long = stalls(gaps)
        if len(long.ns):
            count["stalled_requests"] += len(set(long.row.tolist()))
            count["stalls"] += len(long.ns)
            self._stall_max_ns = max(self._stall_max_ns, int(long.ns.max()))

    def _compare_own_count(self, table: RecordTable, n: Ints, by_usage: Mask) -> None:
        """Compare our own count of replies' text with the n tokens of their source."""
        has_count, counted = table.known("output_tokens_counted")
        count, total = self._count, self._total
        count["output_counted"] += int(has_count.sum())
        total["output_counted"] += int(counted.sum())
        rows = has_count & by_usage & ~_have_hidden_tokens(table)
        difference = np.abs(n - counted)[rows]
        count["usage_compared"] += len(difference)
        count["usage_differ"] += int((difference > 0).sum())
        count["usage_off_by_one"] += int((difference == 1).sum())
        total["usage_said"] += int(n[rows].sum())
        total["usage_counted"] += int(counted[rows].sum())

    def add_input_tokens(self, table: RecordTable) -> None:
        """Count the input tokens of successful requests, and each usage that cannot be true."""
        count = self._count
        counted, tokens = table.known("input_tokens")
        self._compare("input", *table.known("input_tokens_asked"), counted, tokens)
        count["input_usage"] += int(counted.sum())
        self._total["input_usage"] += int(tokens.sum())
        contradictions = self._reasons(table, "usage_contradiction")
        count["usage_contradicted"] += len(contradictions)
        self._first_contradiction = min((*contradictions, *_as_list(self._first_contradiction)), default=None)
        judged = table.has("inputs") & (counted | table.has("usage_contradiction"))
        count["usage_judged"] += int(judged.sum())

    @staticmethod
    def _reasons(table: RecordTable, name: str) -> list[tuple[int, str]]:
        """The texts in a field, with the index of their request."""
        rows = zip(table.column("index"), table.column(name), strict=True)
        return [(index, reason) for index, reason in rows if reason is not None]

    def _compare(self, side: str, has_asked: Mask, asked: Ints, has_got: Mask, got: Ints) -> None:
        both = has_asked & has_got
        self._count[f"{side}_asked"] += int(has_asked.sum())
        self._total[f"{side}_asked"] += int(asked.sum())
        self._count[f"{side}_compared"] += int(both.sum())
        self._count[f"{side}_differ"] += int((asked[both] != got[both]).sum())

    def _add_error(self, record: RequestRecord) -> None:
        text = "" if record.error is None else record.error[:_ERROR_TEXT_LENGTH]
        key = (record.outcome, 0 if record.status is None else record.status, text)
        if key not in self._errors and len(self._errors) >= _ERROR_TEXTS_HELD:
            # A server that puts an id into each message must not fill our memory.
            key = (*key[:2], "(other messages)")
        self._errors[key] += 1

    @property
    def retried(self) -> int:
        """Requests that took a second attempt."""
        return self._count["retried"]

    @property
    def retried_late(self) -> int:
        """Retried requests whose first attempt lasted over 10 ms on the server, which may have worked on it."""
        return self._count["retried_late"]

    @property
    def unsent(self) -> int:
        """Failed requests of which no byte was sent, because there was no connection."""
        return self._count["unsent"]

    def target_gone(self, start_ns: int) -> TargetGone | None:
        """Since when all connections failed, until the end of the run. Returns None if the target answered at the end.

        `since_s` is the end of the last answer (the first byte of a broken one), in s from the start of the run; None
        if there was none.
        """
        last_ns = self._heard_ns
        lost = len(self._lost_ns) if last_ns is None else sum(at > last_ns for at in self._lost_ns)
        if lost < GONE_FROM:
            return None
        return TargetGone(since_s=None if last_ns is None else (last_ns - start_ns) / NS_PER_S, requests=lost)

    @property
    def output_tokens(self) -> int:
        return self._total["output"]

    def errors(self) -> list[ErrorCount]:
        """The messages of failures, the most frequent first."""
        rows = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        return [
            ErrorCount(outcome=outcome, status=status if status else None, error=text if text else None, n=n)
            for (outcome, status, text), n in rows[:_ERRORS_SHOWN]
        ]

    def stalls(self) -> Stalls:
        """Gaps that a reader would notice."""
        return Stalls(
            requests=self._count["stalled_requests"],
            stalls=self._count["stalls"],
            max_ms=self._stall_max_ns / NS_PER_MS if self._stall_max_ns else None,
        )

    def tokens(self) -> Tokens:
        """`tokens` of a summary: sums over the successful requests, and how often two counts of the same thing differ."""
        count, total = self._count, self._total

        def known(name: str) -> int | None:
            return total[name] if count[name] else None

        def share(part: int, of: int) -> float | None:
            return part / of if of else None

        def differing(name: str) -> Difference:
            compared, differ = count[f"{name}_compared"], count[f"{name}_differ"]
            return Difference(compared=compared, differ=differ, share=share(differ, compared))

        def reported(requests: int, judged: int, first: tuple[int, str] | None) -> Reported:
            first_reason = None if first is None else first[1]
            return Reported(judged=judged, requests=requests, share=share(requests, judged), first=first_reason)

        usage = differing("usage")
        return Tokens(
            asked=InputOutput(input=known("input_asked"), output=known("output_asked")),
            usage=InputOutput(input=known("input_usage"), output=known("output_usage")),
            prompts=PromptTokens(requests=count["prompts"], tokens=total["prompts"]),
            counted=CountedTokens(output=known("output_counted")),
            cached=CachedTokens(
                tokens=total["cached"],
                of=total["cached_of"],
                share=share(total["cached"], total["cached_of"]),
                share_beyond_head=share(total["cached_beyond"], total["cached_of"]),
                share_of_probes=share(total["probes"], total["prompts"]) if total["probes"] else None,
            ),
            output=total["output"],
            counted_by=CountedBy(**{name: self._counted_by[name] for name in CountedBy.__struct_fields__}),
            chunks=TokenChunks(
                with_tokens=total["token_chunks"],
                requests_with_several_tokens_a_chunk=count["several_tokens"],
                requests_with_unknown_tokens_a_chunk=count["unknown_chunks"],
            ),
            kinds=self._kinds.kinds(),
            tool_calls=self._kinds.tool_calls(),
            asked_against_got=AskedAgainstGot(input=differing("input"), output=differing("output")),
            contradicted=reported(count["usage_contradicted"], count["usage_judged"], self._first_contradiction),
            doubted=reported(count["doubted"], count["texts"], self._first_doubt),
            over_limit=OverLimit(
                judged=count["output_compared"],
                requests=count["over_limit"],
                share=share(count["over_limit"], count["output_compared"]),
            ),
            mismatch=Mismatch(
                compared=usage.compared,
                differ=usage.differ,
                share=usage.share,
                off_by_one=count["usage_off_by_one"],
                usage_over_counted=share(total["usage_said"], total["usage_counted"]),
            ),
        )

    def connect_ms(self) -> Statistics:
        """How long requests waited for new connections."""
        return describe(sorted(self._connects_ms))

    def clock(self) -> StampClocks:
        """Requests by the clock that stamped their chunks."""
        return StampClocks(**{name: self._clocks[name] for name in StampClocks.__struct_fields__})

    def coalesced(self) -> Coalesced:
        """Chunks that shared a read with a later chunk."""
        chunks, coalesced = self._count["chunks"], self._count["coalesced"]
        return Coalesced(chunks=coalesced, of=chunks, share=coalesced / chunks if chunks else None)

    def stamp_bounds(self, gaps: Snapshot) -> StampBounds:
        """Token chunks whose arrival is only known within bounds. `gaps` are the gaps between tokens."""
        widths = self._bounds.snapshot()
        limit_ns = max(WIDE_BOUND_NS, 0.01 * gaps.quantile(0.5)) if gaps.n else WIDE_BOUND_NS
        wide, token_chunks = widths.count_above(limit_ns), self._total["token_chunks"]
        return StampBounds(
            chunks=widths.n,
            wide=wide,
            wide_share=wide / token_chunks if token_chunks else None,
            width_ms=widths.describe(1 / NS_PER_MS),
        )
