"""Pairs records with lines of the ledger, and compares the values that must agree exactly.

Both are joined by request id and attempt, one pair at a time, so neither side is ever held whole in memory. The probe
is left out. A request that never reached the server (refused connection, dropped arrival) rightly has no line;
everything else without a partner is a problem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.accuracy.ledger import Ledger
from bench.records import Outcome, RequestRecord
from bench.results.certificate import Agreement, JoinCounts

NEVER_ARRIVED = frozenset({Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.DROPPED, Outcome.INTERRUPTED})
"""Outcomes of requests that may never have reached the server."""

CUT_BY_CLIENT = frozenset(
    {
        Outcome.CANCELLED,
        Outcome.INTERRUPTED,
        Outcome.TIMEOUT_FIRST_BYTE,
        Outcome.TIMEOUT_IDLE,
        Outcome.TIMEOUT_TOTAL,
        Outcome.TIMEOUT_CONNECT,
    }
)
"""Outcomes decided by the client: the server may have written more than was read."""

_REFUSALS = ("400", "401", "403", "404", "413", "429", "500", "502", "503", "504", "529")
_HARMLESS = (
    "slow_accept", "stall", "slow", "degrade", "pause", "no_done", "role_early", "role_with_token", "role_absent", "empty",
    "duplicate", "reorder", "u2028", "usage_missing", "usage_wrong", "usage_twice", "length", "crlf", "cr", "comments",
    "keepalive", "gzip", "split", "split_utf8", "trickle", "coalesce", "cross_talk", "stale_prefix", "wrong_answer",
    "batch_dependent", "garble", "garble_preempted", "cut_json",
)  # fmt: skip

OUTCOME_OF_FAULT = {
    # The first of these that struck decides: first how the connection ended, then unreadable data, then reported
    # errors.
    "reset": Outcome.RESET,
    "no_headers": Outcome.RESET,
    "truncate": Outcome.TRUNCATED,
    "cut_frame": Outcome.TRUNCATED,
    "malformed": Outcome.MALFORMED,
    "error_in_stream": Outcome.STREAM_ERROR,
    **dict.fromkeys(_REFUSALS, Outcome.HTTP_ERROR),
    "lost_response": Outcome.LOST_RESPONSE,
    **dict.fromkeys(_HARMLESS, Outcome.OK),
}
"""The outcome that a client must record for each fault in the ledger. (`refuse` has no line: a refused request never
arrives.) A reply that never began is a reset, unless the client gave up first."""

AUDIO = "a"
"""The kind of chunks that carry audio."""
SPEECH = "speech"
"""An endpoint whose replies are audio. The network may cut the audio into other pieces than the server wrote."""
HTTP = "http"
"""The endpoint of any HTTP service. It measures when a response came, reads nothing in it, and counts no tokens."""
SAYS_NO_INPUT_TOKENS = frozenset({HTTP, "tei-rerank"})
"""Endpoints whose replies do not say how many input tokens a request had."""
_NAMES_ERRORS = frozenset({"messages", "responses"})
"""Endpoints whose errors are named in addition to their data: they are read even after an event that is not JSON."""
_WITH_A_LAST_EVENT = _NAMES_ERRORS | {
    "ollama",
    "ollama-generate",
    "tgi",
    "transcriptions",
    "speech",
    "images",
    "realtime",
}
"""Endpoints whose streams end with a final event. A stream without it is cut off."""

UNTRUE_USAGE = frozenset({"usage_wrong"})
"""Faults that make the server's token count wrong. The client has no other count, so it is not to blame for the
difference."""

WITHOUT_USAGE = UNTRUE_USAGE | {"usage_missing"}
"""Faults after which the client cannot know the input tokens of a reply that has no other count."""

CHECKS = (
    "status",
    "outcome",
    "number of chunks",
    "sequence of chunks",
    "number of tokens",
    "number of inputs",
    "number of bytes",
    "number of bytes of audio",
    "end of a cancelled request",
)
"""The values that must be equal."""

NOTICED_WITHIN_NS = 100_000_000
"""A mock notices within this time that a client has left, on any clock: both times are durations."""

SUMS = ("requests", "chunks", "tokens", "inputs", "input tokens", "bytes sent", "bytes received", "bytes of audio")
"""The sums that both sides compute over all requests, in addition to outcomes and statuses."""

NAMED_AT_MOST = 5
"""Name at most this many of one kind of disagreement; count the others."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One request as recorded by both sides."""

    record: RequestRecord
    line: Mapping[str, Any]
    endpoint: str = "chat"


def expected_outcome(line: Mapping[str, Any], endpoint: str = "chat") -> Outcome:
    """The outcome that the client must have recorded for this line of the ledger."""
    status = line["status"]
    if status is not None and status >= 300:
        lost = isinstance(line["engine"], dict) and line["engine"].get("previous") == "lost"
        return Outcome.LOST_RESPONSE if lost else Outcome.HTTP_ERROR
    struck = faults_of(line)
    if endpoint in _WITH_A_LAST_EVENT and line["write_ns"]:
        if endpoint in _NAMES_ERRORS and "error_in_stream" in struck:
            struck -= {"malformed"}
        if "no_done" in struck:
            struck |= {"truncate"}
    return next((outcome for fault, outcome in OUTCOME_OF_FAULT.items() if fault in struck), Outcome.OK)


def text_tokens(line: Mapping[str, Any]) -> int:
    """The output tokens of a reply, except audio tokens."""
    return sum(n for n, kind in zip(line["chunk_tokens"], line["chunk_kind"], strict=True) if kind != AUDIO)


def faults_of(line: Mapping[str, object]) -> frozenset[str]:
    """The faults that struck; the ledger joins their names with `+`."""
    fault = line.get("fault")
    return frozenset(fault.split("+")) if isinstance(fault, str) else frozenset()


@dataclass(slots=True)
class _Disagreement:
    """Requests with one kind of disagreement: counts all, names the first few."""

    n: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, which: str, n: int = 1) -> None:
        self.n += n
        if len(self.shown) < NAMED_AT_MOST:
            self.shown.append(which)

    def sentence(self, label: str) -> list[str]:
        if not self.n:
            return []
        more = f" and {self.n - len(self.shown)} more" if self.n > len(self.shown) else ""
        return [f"{label} ({self.n}): {', '.join(self.shown)}{more}"]


class Join:
    """Pairs records with ledger lines and compares values that must be equal. The results are complete when `pairs` has
    ended."""

    def __init__(self, ledger: Ledger, endpoint: str = "chat") -> None:
        """`endpoint` is the endpoint of the run; a request may name its own."""
        self._ledger = ledger
        self._endpoint = endpoint
        self._twice, self._without_line, self._without_record = _Disagreement(), _Disagreement(), _Disagreement()
        self._differing = {name: _Disagreement() for name in CHECKS}
        self._here: Counter[str] = Counter()
        self._there: Counter[str] = Counter()
        self._chunks_off: Counter[int] = Counter()
        self._confused: Counter[tuple[str, str, str]] = Counter()
        self._pairs = 0
        self._blocked = 0

    def pairs(self, records: Iterable[RequestRecord]) -> Iterator[Pair]:
        """Each record with its line, in the order of the records."""
        ids: set[str] = set()
        for record in records:
            if record.id in ids:
                self._twice.add(record.id)
            ids.add(record.id)
            line = self._ledger.line(record.id)
            if line is None:
                left_at_once = record.outcome is Outcome.CANCELLED and record.first_byte_ns is None
                if record.outcome not in NEVER_ARRIVED and not left_at_once:
                    self._without_line.add(record.id)
                continue
            pair = Pair(record, line, self._endpoint if record.endpoint is None else record.endpoint)
            self._pairs += 1
            self._blocked += len(line["blocked"])
            self._compare(pair)
            yield pair
        if self._ledger.strangers:
            self._without_record.add("without x-request-id", self._ledger.strangers)
        for request_id in self._ledger:
            if request_id not in ids:
                self._without_record.add(request_id)

    def problems(self) -> list[str]:
        """A sentence for each kind of disagreement."""
        sentences = self._twice.sentence("requests with two records")
        sentences += self._without_line.sentence("records without a line in the ledger")
        sentences += self._without_record.sentence("lines of the ledger without a record")
        for name, differing in self._differing.items():
            sentences += differing.sentence(f"requests whose {name} differs from the ledger")
        return sentences

    def counts(self) -> JoinCounts:
        """How much was compared, and how much of it differs."""
        return JoinCounts(
            requests=self._pairs,
            unmatched=self._without_line.n + self._without_record.n,
            differing=sum(differing.n for differing in self._differing.values()),
            blocked=self._blocked,
        )

    def agreement(self) -> list[Agreement]:
        """The sums of both sides: requests, chunks, tokens and bytes, each outcome and each status.

        Requests that the client cut are left out: there the two sides may differ.
        """
        names = self._here.keys() | self._there.keys()
        return [
            Agreement(what=name, here=self._here[name], there=self._there[name])
            for name in [*(name for name in SUMS if name in names), *sorted(names.difference(SUMS))]
        ]

    def chunks_off(self) -> dict[int, int]:
        """The number of records by their surplus of chunks (or, if negative, lack) compared with the ledger."""
        return dict(self._chunks_off)

    def confused(self) -> dict[tuple[str, str, str], int]:
        """How often outcomes differ: keys are (outcome here, outcome there, the fault that struck)."""
        return dict(self._confused)

    def _compare(self, pair: Pair) -> None:
        record, line = pair.record, pair.line
        for name, difference in _differences(pair):
            self._differing[name].add(f"{record.id} ({difference})")
        if record.outcome in CUT_BY_CLIENT:
            return
        if record.outcome is not (expected := expected_outcome(line, pair.endpoint)):
            self._confused[str(record.outcome), str(expected), line.get("fault") or ""] += 1
        here, there = self._here, self._there
        here[f"outcome {record.outcome}"] += 1
        there[f"outcome {expected_outcome(line, pair.endpoint)}"] += 1
        here[f"status {record.status}"] += 1
        there[f"status {line['status']}"] += 1
        for side in (here, there):
            side["requests"] += 1
        here["bytes sent"] += record.bytes_sent
        there["bytes sent"] += line["bytes_in"]
        if record.outcome is Outcome.RESET:
            return
        here["bytes received"] += record.bytes_received
        there["bytes received"] += line["bytes_out"]
        if pair.endpoint == HTTP:
            return
        self._compare_audio(pair)
        if pair.endpoint == SPEECH:
            return
        here["chunks"] += len(record.chunk_ns)
        there["chunks"] += len(line["write_ns"])
        if off := len(record.chunk_ns) - len(line["write_ns"]):
            self._chunks_off[off] += 1
        if _has_tokens(record) and not UNTRUE_USAGE & faults_of(line):
            here["tokens"] += 0 if record.output_tokens is None else record.output_tokens
            there["tokens"] += text_tokens(line)
        if record.outcome is Outcome.OK and record.inputs is not None:
            here["inputs"] += record.inputs
            there["inputs"] += line.get("inputs") or 0
            if _says_input_tokens(pair):
                here["input tokens"] += record.input_tokens or 0
                there["input tokens"] += line["input_tokens"] or 0

    def _compare_audio(self, pair: Pair) -> None:
        """Compare the audio of a complete reply; another reply may have ended in the middle of a piece."""
        if pair.record.outcome is Outcome.OK and "audio_out_bytes" in pair.line:
            self._here["bytes of audio"] += pair.record.audio_bytes
            self._there["bytes of audio"] += sum(pair.line["audio_out_bytes"])


def _has_tokens(record: RequestRecord) -> bool:
    """Whether a reply is a stream of generated text."""
    return record.outcome is Outcome.OK and record.streamed and record.inputs is None


def _says_input_tokens(pair: Pair) -> bool:
    return pair.endpoint not in SAYS_NO_INPUT_TOKENS and not WITHOUT_USAGE & faults_of(pair.line)


def _differences(pair: Pair) -> list[tuple[str, str]]:
    record, line = pair.record, pair.line
    differences: list[tuple[str, str]] = []

    def compare(name: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            differences.append((name, f"{ours} here, {theirs} there"))

    if record.outcome in CUT_BY_CLIENT:
        return _differences_of_cut(pair)
    compare("status", record.status, line["status"])
    compare("outcome", str(record.outcome), str(expected_outcome(line, pair.endpoint)))
    compare("number of bytes", record.bytes_sent, line["bytes_in"])
    if record.outcome is Outcome.RESET:
        return differences  # Data in transit when the connection died may have arrived or not.
    compare("number of bytes", record.bytes_received, line["bytes_out"])
    if record.outcome is Outcome.OK and "audio_out_bytes" in line:
        compare("number of bytes of audio", record.audio_bytes, sum(line["audio_out_bytes"]))
    if pair.endpoint == SPEECH:
        if record.outcome is Outcome.OK:
            compare("number of inputs", record.inputs, line.get("inputs"))
        return differences
    compare("number of chunks", len(record.chunk_ns), len(line["write_ns"]))
    if record.outcome is Outcome.OK and record.streamed:
        compare("sequence of chunks", record.chunk_kind, line["chunk_kind"])
        if _has_tokens(record) and not UNTRUE_USAGE & faults_of(line):
            compare("number of tokens", record.output_tokens, text_tokens(line))
    if record.outcome is Outcome.OK and record.inputs is not None:
        compare("number of inputs", record.inputs, line.get("inputs"))
        if _says_input_tokens(pair):
            compare("number of tokens", record.input_tokens, line["input_tokens"])
    return differences


def _differences_of_cut(pair: Pair) -> list[tuple[str, str]]:
    """Differences for a request that the client cut; the mock may have recorded more."""
    record, line = pair.record, pair.line
    differences: list[tuple[str, str]] = []
    if pair.endpoint != SPEECH and len(record.chunk_ns) > len(line["write_ns"]):
        differences.append(("number of chunks", f"{len(record.chunk_ns)} here, {len(line['write_ns'])} there"))
    if record.outcome is Outcome.CANCELLED and record.sent_ns is not None:
        lasted_ns, went_on_ns = record.end_ns - record.sent_ns, line["end_ns"] - line["received_ns"]
        if went_on_ns > lasted_ns + NOTICED_WITHIN_NS:
            difference = f"left after {lasted_ns / 1e6:.0f} ms here, {went_on_ns / 1e6:.0f} ms there"
            differences.append(("end of a cancelled request", difference))
    return differences
