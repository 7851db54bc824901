"""GET /metrics: vLLM's names and buckets, computed from finished requests rather than chunk by chunk.

It exports only metrics that this mock has: an engine without a KV cache has no cache metrics.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import sub

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mockserver.clock import NS_PER_S
from mockserver.engine import EngineState
from mockserver.engine.work import Drafts
from mockserver.record.ledger import LedgerEntry

_TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0,
    640.0, 2560.0,
)  # fmt: skip
_TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip

_ITERATION_TOKENS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)

_TOGETHER = 16
"""Requests counted together: with 256 tokens each, that takes 0.3 ms."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def one_two_five(limit: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50 ... up to `limit`: vLLM's buckets for tokens."""
    bounds: list[float] = []
    decade = 1
    while decade <= limit:
        bounds += [float(m * decade) for m in (1, 2, 5) if m * decade <= limit]
        decade *= 10
    return tuple(bounds)


class _Histogram:
    """Counts of values at or below each bound."""

    def __init__(self, name: str, doc: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._doc = doc
        self._bounds = bounds
        self._bounds_ns = [round(bound * NS_PER_S) for bound in bounds]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def observe_all_ns(self, values_ns: Iterable[float]) -> None:
        """`observe` many times, in ns, at the cost of one sort."""
        ordered = sorted(values_ns)
        self._count(ordered, self._bounds_ns)
        self._sum += sum(ordered) / NS_PER_S

    def observe_all(self, values: Iterable[float]) -> None:
        ordered = sorted(values)
        self._count(ordered, self._bounds)
        self._sum += sum(ordered)

    def _count(self, ordered: Sequence[float], bounds: Sequence[float]) -> None:
        below = 0
        for i, bound in enumerate(bounds):
            if below == len(ordered):
                break
            upto = bisect_right(ordered, bound, below)
            self._counts[i] += upto - below
            below = upto
        self._counts[-1] += len(ordered) - below

    def family(self, names: Sequence[str], values: Sequence[str]) -> Metric:
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family = HistogramMetricFamily(self._name, self._doc, labels=names)
        family.add_metric(values, buckets, self._sum)
        return family


class ServerMetrics(Collector):
    """Metrics of finished requests and of the engine."""

    def __init__(self, model: str, max_model_len: int, state: Callable[[], EngineState], engine: str = "0") -> None:
        self._label_values = (model, engine)
        self._state = state
        # Counters start at 0 with this object. The engine's counters continue across a reset by /admin.
        self._before = state()
        self._input_tokens = 0
        self._output_tokens = 0
        self._finished: dict[str, int] = {"stop": 0, "length": 0, "abort": 0, "error": 0}
        tokens = one_two_five(max_model_len)
        self._ttft = _Histogram("vllm:time_to_first_token_seconds", "Time to first token", _TTFT_S)
        self._itl = _Histogram("vllm:inter_token_latency_seconds", "Time between tokens", _TOKEN_S)
        self._tpot = _Histogram("vllm:request_time_per_output_token_seconds", "Mean of a request", _TOKEN_S)
        self._e2e = _Histogram("vllm:e2e_request_latency_seconds", "Arrival to last token", _REQUEST_S)
        self._queue = _Histogram("vllm:request_queue_time_seconds", "Time in the engine's queue", _REQUEST_S)
        self._prefill = _Histogram("vllm:request_prefill_time_seconds", "First step to first token", _REQUEST_S)
        self._decode = _Histogram("vllm:request_decode_time_seconds", "First to last token", _REQUEST_S)
        self._prompt = _Histogram("vllm:request_prompt_tokens", "Input tokens of a request", tokens)
        self._generation = _Histogram("vllm:request_generation_tokens", "Output tokens of a request", tokens)
        self._waiting: list[LedgerEntry] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def samples(self) -> bytes:
        return orjson.dumps(
            [
                [family.name, family.documentation, family.type, [[s.name, s.labels, s.value] for s in family.samples]]
                for family in self._registry.collect()
            ]
        )

    def add(self, entry: LedgerEntry) -> None:
        """Add a finished request. Requests are counted in batches, which costs a fraction: one sort per histogram."""
        self._waiting.append(entry)
        if len(self._waiting) >= _TOGETHER:
            self._count_waiting()

    def _count_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        ttft: list[int] = []
        e2e: list[int] = []
        decode: list[int] = []
        gaps: list[int] = []
        tpot: list[float] = []
        prompts: list[int] = []
        outputs: list[int] = []
        for entry in waiting:
            if entry.plan is None or (entry.plan.output_tokens == 0 and entry.finished == "error"):
                continue  # It was refused before the engine. (An embedding has no tokens either, but finishes normally.)
            if "prefill_ns" in entry.engine:
                self._queue.observe(entry.engine["queue_ns"] / NS_PER_S)
                self._prefill.observe(entry.engine["prefill_ns"] / NS_PER_S)
            self._finished[entry.finished] += 1
            outputs.append(entry.output_tokens)
            if entry.input_tokens is not None:
                prompts.append(entry.input_tokens)
            stamps = _token_stamps(entry)
            if not stamps:
                continue
            first, last = stamps[0], stamps[-1]
            ttft.append(first - entry.received_ns)
            e2e.append(last - entry.received_ns)
            decode.append(last - first)
            if len(stamps) > 1:
                gaps.extend(map(sub, stamps[1:], stamps))
            if entry.output_tokens > 1:
                tpot.append((last - first) / (entry.output_tokens - 1))
        self._input_tokens += sum(prompts)
        self._output_tokens += sum(outputs)
        self._prompt.observe_all(prompts)
        self._generation.observe_all(outputs)
        of_times = ((self._ttft, ttft), (self._e2e, e2e), (self._decode, decode), (self._itl, gaps), (self._tpot, tpot))
        for histogram, values_ns in of_times:
            histogram.observe_all_ns(values_ns)

    def collect(self) -> Iterator[Metric]:
        self._count_waiting()
        names, values = ("model_name", "engine"), self._label_values
        state = self._state().since(self._before)
        for name, doc, level in (
            ("vllm:num_requests_running", "Requests that the engine works on", state.running),
            ("vllm:num_requests_waiting", "Requests that wait for the engine", state.waiting),
            ("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, from 0 to 1", state.kv_usage),
        ):
            if level is not None:
                gauge = GaugeMetricFamily(name, doc, labels=names)
                gauge.add_metric(values, level)
                yield gauge
        for name, doc, number in (
            ("vllm:prompt_tokens", "Input tokens processed", self._input_tokens),
            ("vllm:generation_tokens", "Output tokens generated", self._output_tokens),
            ("vllm:prefix_cache_queries", "Tokens looked up in the prefix cache", state.prefix_queries),
            ("vllm:prefix_cache_hits", "Tokens found in the prefix cache", state.prefix_hits),
            ("vllm:num_preemptions", "Requests preempted", state.preemptions),
        ):
            if number is not None:
                counter = CounterMetricFamily(name, doc, labels=names)
                counter.add_metric(values, number)
                yield counter
        if state.drafts is not None:
            yield from _drafts(state.drafts, names, values)
        success = CounterMetricFamily("vllm:request_success", "Finished requests", labels=(*names, "finished_reason"))
        for reason, number in self._finished.items():
            success.add_metric((*values, reason), number)
        yield success
        histograms = [self._ttft, self._itl, self._tpot, self._e2e, self._decode, self._prompt, self._generation]
        if state.preemptions is not None:  # Only an engine with steps has these.
            histograms += [self._queue, self._prefill, _iterations(state.iteration_tokens)]
        for histogram in histograms:
            yield histogram.family(names, values)


class _Merged(Collector):
    """The metric families of several workers: samples with the same name and labels are summed."""

    def __init__(self, samples: Sequence[bytes]) -> None:
        self._families: dict[str, Metric] = {}
        values: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
        for of_worker in samples:
            for name, doc, kind, rows in orjson.loads(of_worker):
                self._families.setdefault(name, Metric(name, doc, kind))
                for sample, labels, value in rows:
                    key = (name, sample, tuple(labels.items()))
                    values[key] = values.get(key, 0.0) + value
        for (name, sample, pairs), value in values.items():
            self._families[name].add_sample(sample, dict(pairs), value)

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def render(samples: Sequence[bytes]) -> bytes:
    """The `samples` of all workers in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(samples))
    return generate_latest(registry)


def _token_stamps(entry: LedgerEntry) -> Sequence[int]:
    """When the chunks with tokens were sent. Usually they are contiguous."""
    kinds = entry.chunk_kind
    first = kinds.find("c")
    stop = kinds.rfind("c") + 1
    if first >= 0 and kinds.count("c", first, stop) == stop - first and not ("t" in kinds or "f" in kinds):
        return entry.write_ns[first:stop]
    return [at for at, kind in zip(entry.write_ns, kinds, strict=True) if kind in "ctf"]


def _drafts(drafts: Drafts, names: Sequence[str], values: Sequence[str]) -> Iterator[Metric]:
    """vLLM's counters of speculative decoding."""
    for name, doc, number in (
        ("vllm:spec_decode_num_drafts", "Steps that verified drafts", drafts.steps),
        ("vllm:spec_decode_num_draft_tokens", "Draft tokens", drafts.proposed),
        ("vllm:spec_decode_num_accepted_tokens", "Draft tokens that were accepted", drafts.accepted),
    ):
        counter = CounterMetricFamily(name, doc, labels=names)
        counter.add_metric(values, number)
        yield counter
    each = CounterMetricFamily(
        "vllm:spec_decode_num_accepted_tokens_per_pos", "Accepted at each position", labels=(*names, "position")
    )
    for position, number in enumerate(drafts.accepted_at):
        each.add_metric((*values, str(position)), number)
    yield each


def _iterations(steps: Mapping[int, int]) -> _Histogram:
    histogram = _Histogram("vllm:iteration_tokens_total", "Tokens of a step of the engine", _ITERATION_TOKENS)
    for tokens, times in steps.items():
        histogram.observe(tokens, times)
    return histogram
