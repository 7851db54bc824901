"""What is only counted: tokens asked and got, errors, whether the target was gone, and what the client's stamps are worth."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.metrics import per_request
from bench.metrics.histogram import LogHistogram, Snapshot
from bench.metrics.kinds import KindTally
from bench.metrics.per_request import NS_PER_MS, NS_PER_S
from bench.metrics.quantile import describe
from bench.records import Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes
    from bench.run_files.record_blocks import Ints, Mask

WIDE_BOUND_NS = 100_000
"""A stamp whose bound is wider than this, and than 1% of the median gap, is a wide one."""

GONE_FROM = 5
"""So many requests that were lost at the end of a run, with no answer after them, are no accident."""

COMMON_HEAD = 15
"""Tokens that a chat template may put ahead of every prompt, less than a block of a cache: shared, and planned by nobody."""

LATE_RETRY_NS = 10 * NS_PER_MS
_NO_ANSWER = frozenset(
    {Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.TIMEOUT_FIRST_BYTE, Outcome.RESET, Outcome.TRUNCATED}
)
_NOT_HEARD = _NO_ANSWER | {Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED}

_ERRORS_SHOWN = 50
_ERROR_TEXTS_HELD = 1_000
_ERROR_TEXT_LENGTH = 500


def _has_hidden_tokens(record: RequestRecord) -> bool:
    """Whether a reply has tokens that its text cannot show: the marks around a tool call, reasoning that is kept back."""
    return bool(record.tool_calls) or (
        bool(record.reasoning_tokens) and record.streamed and "t" not in record.chunk_kind
    )


class RecordTally:
    """Folds the records of the run phase."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._clocks: Counter[str] = Counter()
        self._counted_by: Counter[str] = Counter()
        self._errors: Counter[tuple[str, int, str]] = Counter()
        self._kinds = KindTally()
        self._bounds = LogHistogram()
        self._bounds.fold()
        self._connects_ms = array("d")
        self._lost_ns = array("q")
        self._heard_ns: int | None = None
        self._stall_max_ns = 0
        # By index: the same in any order of the records.
        self._first_contradiction: tuple[int, str] | None = None
        self._first_doubt: tuple[int, str] | None = None

    def add(self, record: RequestRecord) -> None:
        """Count what every request shows, failed or not."""
        if record.sent_ns is not None:
            self._clocks[record.clock] += 1
        if record.outcome not in _NOT_HEARD:
            self._heard_ns = record.end_ns if self._heard_ns is None else max(self._heard_ns, record.end_ns)
        elif record.outcome in _NO_ANSWER:
            self._lost_ns.append(record.end_ns)
            self._count["unsent"] += record.sent_ns is None
        if record.attempts > 1:
            self._count["retried"] += 1
            if record.sent_ns is not None and record.resent_ns is not None:
                self._count["retried_late"] += record.resent_ns - record.sent_ns > LATE_RETRY_NS
        if record.connect_ns:
            self._connects_ms.append(record.connect_ns / NS_PER_MS)
        self._count["chunks"] += len(record.chunk_ns)
        self._count["coalesced"] += record.coalesced
        if record.chunk_bound_ns is not None:
            self._bounds.extend(per_request.stamp_bound_widths_ns(record))
        if record.outcome not in (Outcome.OK, Outcome.DROPPED, Outcome.CANCELLED):
            self._add_error(record)

    def add_tokens(self, record: RequestRecord, n: int, chunk_tokens: tuple[int, ...] | None, gaps: list[int]) -> None:
        """Count the n output tokens of a successful request, its token chunks and the stalls between them."""
        count, total = self._count, self._total
        source = "chunks" if record.output_tokens_from is None else record.output_tokens_from
        self._counted_by[source] += 1
        total["output"] += n
        self._kinds.add(record, n)
        self.add_input_tokens(record)
        self._compare("output", record.output_tokens_asked, n)
        count["over_limit"] += record.output_tokens_asked is not None and n > record.output_tokens_asked
        count["texts"] += 1
        if record.output_tokens_doubt is not None:
            count["doubted"] += 1
            doubt = record.index, record.output_tokens_doubt
            self._first_doubt = min(self._first_doubt or doubt, doubt)
        if record.input_tokens is not None and record.cached_tokens is not None:
            total["cached"] += record.cached_tokens
            total["cached_beyond"] += max(0, record.cached_tokens - COMMON_HEAD)
            total["cached_of"] += record.input_tokens
        if source == "usage":
            count["output_usage"] += 1
            total["output_usage"] += n
        count["usage_judged"] += source == "usage" or record.usage_contradiction is not None
        if record.output_tokens_counted is not None:
            self._add_counted(source, n, record.output_tokens_counted, hidden=_has_hidden_tokens(record))
        if record.streamed:
            token_chunks = per_request.token_chunk_count(record)
            total["token_chunks"] += token_chunks
            if chunk_tokens is None:
                count["unknown_chunks"] += 1
            elif token_chunks and max(chunk_tokens) > 1:
                count["several_tokens"] += 1
        self._add_stalls(gaps)

    def _add_counted(self, source: str, n: int, counted: int, *, hidden: bool) -> None:
        """A reply whose text was counted, with the n tokens that its source says."""
        count, total = self._count, self._total
        count["output_counted"] += 1
        total["output_counted"] += counted
        if source == "usage" and not hidden:
            difference = abs(n - counted)
            count["usage_compared"] += 1
            count["usage_differ"] += difference > 0
            count["usage_off_by_one"] += difference == 1
            total["usage_said"] += n
            total["usage_counted"] += counted

    def _add_stalls(self, gaps: list[int]) -> None:
        if stalls := per_request.stalls_ns(gaps):
            self._count["stalled_requests"] += 1
            self._count["stalls"] += len(stalls)
            self._stall_max_ns = max(self._stall_max_ns, *stalls)

    def add_input_tokens(self, record: RequestRecord) -> None:
        """Count the input tokens of a successful request, and a usage that cannot be true."""
        count, total = self._count, self._total
        self._compare("input", record.input_tokens_asked, record.input_tokens)
        if record.input_tokens is not None:
            count["input_usage"] += 1
            total["input_usage"] += record.input_tokens
        if record.usage_contradiction is not None:
            self._add_contradiction(record.index, record.usage_contradiction)
        if record.inputs is not None:
            count["usage_judged"] += record.input_tokens is not None or record.usage_contradiction is not None

    def _add_contradiction(self, index: int, why: str) -> None:
        self._count["usage_contradicted"] += 1
        found = index, why
        self._first_contradiction = min(self._first_contradiction or found, found)

    def add_block(self, times: BlockTimes) -> None:
        """The records of a block: `add` and `add_tokens` of each."""
        import numpy as np

        block, count = times.block, self._count
        self._clocks.update(block.column("clock"))
        last_ns = int(block.end_ns.max())
        self._heard_ns = last_ns if self._heard_ns is None else max(self._heard_ns, last_ns)
        count["retried"] += int((block.ints("attempts") > 1).sum())
        _, connect_ns = block.known("connect_ns")
        self._connects_ms.frombytes((connect_ns[connect_ns != 0] / NS_PER_MS).tobytes())
        count["chunks"] += len(block.stamps)
        count["coalesced"] += int(block.ints("coalesced").sum())
        if times.bounded:
            earliest = block.earliest[times.token_at]
            widths = (block.stamps[times.token_at] - earliest)[earliest > 0]
            self._bounds.extend(widths.tolist())
        self._add_block_tokens(times)
        gaps_end = np.cumsum(block.tokens - 1)
        if len(times.gaps) and int(times.gaps.max()) > per_request.STALL_FLOOR_NS:
            rows = np.searchsorted(gaps_end, np.flatnonzero(times.gaps > per_request.STALL_FLOOR_NS), side="right")
            for row in sorted(set(rows.tolist())):
                end = int(gaps_end[row])
                self._add_stalls(times.gaps[end - int(block.tokens[row]) + 1 : end].tolist())

    def _add_block_tokens(self, times: BlockTimes) -> None:
        import numpy as np

        block, count, total = times.block, self._count, self._total
        sources = ["chunks" if source is None else source for source in block.column("output_tokens_from")]
        self._counted_by.update(sources)
        total["output"] += int(times.n.sum())
        self._kinds.add_block(times)
        total["token_chunks"] += int(block.tokens.sum())
        input_said, input_tokens = block.known("input_tokens")
        is_asked, asked = block.known("output_tokens_asked")
        self._compare_all("output", is_asked, asked, None, times.n)
        count["over_limit"] += int((times.n[is_asked] > asked[is_asked]).sum())
        count["texts"] += len(block)
        self._compare_all("input", *block.known("input_tokens_asked"), input_said, input_tokens)
        if input_said.any():
            count["input_usage"] += int(input_said.sum())
            total["input_usage"] += int(input_tokens.sum())
        cached_said, cached = block.known("cached_tokens")
        if (both := cached_said & input_said).any():
            total["cached"] += int(cached[both].sum())
            total["cached_beyond"] += int((cached[both] - COMMON_HEAD).clip(0).sum())
            total["cached_of"] += int(input_tokens[both].sum())
        by_usage = np.array([source == "usage" for source in sources], dtype=np.bool_)
        contradicted = np.array([why is not None for why in block.column("usage_contradiction")], dtype=np.bool_)
        if by_usage.any():
            count["output_usage"] += int(by_usage.sum())
            total["output_usage"] += int(times.n[by_usage].sum())
        count["usage_judged"] += int((by_usage | contradicted).sum())
        for row in np.flatnonzero(contradicted).tolist():
            self._add_contradiction(int(block.index[row]), block.column("usage_contradiction")[row])
        counted, calls, reasoning = map(block.column, ("output_tokens_counted", "tool_calls", "reasoning_tokens"))
        for row, own_count in enumerate(counted):
            if own_count is not None:
                hidden = bool(calls[row]) or bool(reasoning[row])
                self._add_counted(sources[row], int(times.n[row]), own_count, hidden=hidden)

    def _compare_all(self, side: str, is_asked: Mask, asked: Ints, is_got: Mask | None, got: Ints) -> None:
        if not is_asked.any():
            return
        both = is_asked if is_got is None else is_asked & is_got
        self._count[f"{side}_asked"] += int(is_asked.sum())
        self._total[f"{side}_asked"] += int(asked.sum())
        self._count[f"{side}_compared"] += int(both.sum())
        self._count[f"{side}_differ"] += int((asked[both] != got[both]).sum())

    def _compare(self, side: str, asked: int | None, got: int | None) -> None:
        if asked is None:
            return
        self._count[f"{side}_asked"] += 1
        self._total[f"{side}_asked"] += asked
        if got is not None:
            self._count[f"{side}_compared"] += 1
            self._count[f"{side}_differ"] += got != asked

    def _add_error(self, record: RequestRecord) -> None:
        text = "" if record.error is None else record.error[:_ERROR_TEXT_LENGTH]
        key = (str(record.outcome), 0 if record.status is None else record.status, text)
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
        """Those whose first attempt the server kept for over 10 ms: it may have worked on it."""
        return self._count["retried_late"]

    @property
    def unsent(self) -> int:
        """Failed requests of which no byte was sent: no connection came about."""
        return self._count["unsent"]

    def target_gone(self, start_ns: int) -> dict[str, Any] | None:
        """Since when nothing but lost connections came, until the end of the run; None where the target was there at the end.

        `since_s` is the end of the last answer, in s from the start of the run; None where there never was one.
        """
        heard = self._heard_ns
        lost = len(self._lost_ns) if heard is None else sum(at > heard for at in self._lost_ns)
        if lost < GONE_FROM:
            return None
        return {"since_s": None if heard is None else (heard - start_ns) / NS_PER_S, "requests": lost}

    @property
    def output_tokens(self) -> int:
        """Output tokens of the successful requests."""
        return self._total["output"]

    def errors(self) -> list[dict[str, Any]]:
        """The messages that failures came with, the most frequent first."""
        rows = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"outcome": outcome, "status": status if status else None, "error": text if text else None, "n": n}
            for (outcome, status, text), n in rows[:_ERRORS_SHOWN]
        ]

    def stalls(self) -> dict[str, Any]:
        """Gaps that a reader would notice."""
        return {
            "requests": self._count["stalled_requests"],
            "stalls": self._count["stalls"],
            "max_ms": self._stall_max_ns / NS_PER_MS if self._stall_max_ns else None,
        }

    def tokens(self) -> dict[str, Any]:
        """`tokens` of a summary: sums over the successful requests, and how often two counts of one thing differ."""
        count, total = self._count, self._total

        def known(name: str) -> int | None:
            return total[name] if count[name] else None

        def differing(name: str) -> dict[str, Any]:
            compared, differ = count[f"{name}_compared"], count[f"{name}_differ"]
            return {"compared": compared, "differ": differ, "share": differ / compared if compared else None}

        return {
            "asked": {"input": known("input_asked"), "output": known("output_asked")},
            "usage": {"input": known("input_usage"), "output": known("output_usage")},
            "counted": {"output": known("output_counted")},
            "cached": {
                "tokens": total["cached"],
                "of": total["cached_of"],
                "share": total["cached"] / total["cached_of"] if total["cached_of"] else None,
                "share_beyond_head": total["cached_beyond"] / total["cached_of"] if total["cached_of"] else None,
            },
            "output": total["output"],
            "counted_by": {name: self._counted_by[name] for name in ("usage", "tokenizer", "limit", "chunks")},
            "chunks": {
                "with_tokens": total["token_chunks"],
                "requests_with_several_tokens_a_chunk": count["several_tokens"],
                "requests_with_unknown_tokens_a_chunk": count["unknown_chunks"],
            },
            **self._kinds.to_json(),
            "asked_against_got": {"input": differing("input"), "output": differing("output")},
            "contradicted": {
                "judged": count["usage_judged"],
                "requests": count["usage_contradicted"],
                "share": count["usage_contradicted"] / count["usage_judged"] if count["usage_judged"] else None,
                "first": None if self._first_contradiction is None else self._first_contradiction[1],
            },
            "doubted": {
                "judged": count["texts"],
                "requests": count["doubted"],
                "share": count["doubted"] / count["texts"] if count["texts"] else None,
                "first": None if self._first_doubt is None else self._first_doubt[1],
            },
            "over_limit": {
                "judged": count["output_compared"],
                "requests": count["over_limit"],
                "share": count["over_limit"] / count["output_compared"] if count["output_compared"] else None,
            },
            "mismatch": differing("usage")
            | {
                "off_by_one": count["usage_off_by_one"],
                "usage_over_counted": total["usage_said"] / total["usage_counted"] if total["usage_counted"] else None,
            },
        }

    def stamps(self, gaps: Snapshot) -> dict[str, Any]:
        """What the client's time stamps are worth, given the gaps between tokens: part of `instrument`."""
        chunks, coalesced, widths = self._count["chunks"], self._count["coalesced"], self._bounds.snapshot()
        limit_ns = max(WIDE_BOUND_NS, 0.01 * gaps.quantile(0.5)) if gaps.n else WIDE_BOUND_NS
        wide, token_chunks = widths.count_above(limit_ns), self._total["token_chunks"]
        return {
            "connect_ms": describe(sorted(self._connects_ms)),
            "clock": {name: self._clocks[name] for name in ("kernel", "user", "mixed")},
            "coalesced": {"chunks": coalesced, "of": chunks, "share": coalesced / chunks if chunks else None},
            "stamp_bounds": {
                "chunks": widths.n,
                "wide": wide,
                "wide_share": wide / token_chunks if token_chunks else None,
                "width_ms": widths.describe(1 / NS_PER_MS),
            },
        }
