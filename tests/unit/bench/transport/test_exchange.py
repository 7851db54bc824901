"""Code that every transport shares: the stamp of a chunk, the meaning of a shared read, and the outcome of a response."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest

from bench.endpoints.interface import ParsedReply
from bench.records import Outcome, RequestRecord
from bench.transport.exchange import DEFECT, Exchange, Undecodable
from bench.transport.interface import Reading
from bench.transport.lines import LineParser
from bench.workload import Request, SentAudio

TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"out of memory"}}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'


WHOLE = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'


def exchange(*, stream: bool = True, redact: Any = lambda text: text) -> Exchange:
    request = Request(
        id="r-3", index=3, session="s", body=b"{}", stream=stream, input_tokens_asked=5, output_tokens_asked=6
    )
    made = Exchange(request, 100, 110, Reading(redact=redact), clock="user")
    made.connect_ns = 0
    made.sent_ns = 120
    return made


def opened(status: int = 200, content_type: str = "text/event-stream", encoding: str = "", **kind: Any) -> Exchange:
    made = exchange(**kind)
    made.first_byte_ns = 130
    made.head(status, content_type, encoding, "http://other" if 300 <= status < 400 else None)
    return made


def judged(
    *pieces: bytes, status: int = 200, kind: str = "text/event-stream", failed: Outcome | None = None
) -> Outcome:
    made = opened(status, kind)
    for i, piece in enumerate(pieces):
        made.feed(piece, 200 + i, 190 + i)
    return made.close(900, failed, "what broke it").outcome


def test_a_record_carries_over_what_the_request_was() -> None:
    record = exchange().close(500, Outcome.RESET, "gone")
    assert (record.id, record.index, record.phase, record.session) == ("r-3", 3, "run", "s")
    assert (record.intended_ns, record.eligible_ns, record.sent_ns, record.end_ns) == (100, 110, 120, 500)
    assert (record.input_tokens_asked, record.output_tokens_asked, record.bytes_sent) == (5, 6, 2)
    assert (record.outcome, record.error, record.attempts, record.status) == (Outcome.RESET, "gone", 1, None)


def test_a_request_that_was_never_sent_sent_no_bytes() -> None:
    made = exchange()
    made.sent_ns = made.connect_ns = None
    record = made.close(500, Outcome.CONNECT_ERROR, "refused")
    assert (record.bytes_sent, record.connect_ns, record.sent_ns) == (0, None, None)


def chunks(*reads: tuple[bytes, int, int]) -> RequestRecord:
    made = opened()
    for piece, stamp, bound in reads:
        made.feed(piece, stamp, bound)
    return made.close(900)


def test_a_chunk_has_the_stamp_of_the_read_that_ended_it() -> None:
    record = chunks(
        (TOKEN[:10], 200, 130), (TOKEN[10:] + TOKEN[:10], 210, 200), (TOKEN[10:], 220, 210), (DONE, 230, 220)
    )
    assert record.chunk_ns == (210, 220, 230)
    assert (record.chunk_bound_ns, record.coalesced) == (None, 0)


@pytest.mark.parametrize("before", [b"", b"\n", b": ping\n\n", b"event: chunk\n", b"\xef\xbb\xbf"])
def test_an_event_stream_that_is_called_json_is_read_as_what_it_is(before: bytes) -> None:
    made = opened(content_type="application/json; charset=utf-8")
    body = before + TOKEN + END + DONE
    for at in range(len(body)):
        made.feed(body[at : at + 1], 200 + at, 199 + at)
        made.digest()
    record = made.close(900)
    assert (record.outcome, record.chunk_kind) == (Outcome.OK, "coo")
    assert record.chunk_ns[:1] + record.chunk_ns[2:] == (199 + len(before + TOKEN), 199 + len(body))


def test_of_chunks_that_share_a_read_the_last_is_exact_and_the_others_are_bounded() -> None:
    record = chunks((TOKEN, 200, 130), (TOKEN * 3, 240, 205), (DONE, 250, 240))
    assert record.chunk_ns == (200, 240, 240, 240, 250)
    assert record.chunk_bound_ns == (None, 205, 205, None, None)
    assert record.coalesced == 2


def test_pieces_of_one_read_are_one_read() -> None:
    record = chunks((TOKEN, 200, 130), (TOKEN, 200, 130), (TOKEN, 200, 130), (DONE, 250, 200))
    assert record.chunk_bound_ns == (130, 130, None, None)


def test_digesting_now_and_then_changes_nothing() -> None:
    reads = [(TOKEN[:20], 200, 130), (TOKEN[20:] + TOKEN, 210, 200), (TOKEN, 210, 200), (END + DONE, 220, 210)]
    often = opened()
    for piece, stamp, bound in reads:
        often.feed(piece, stamp, bound)
        often.digest()
    assert often.close(900) == chunks(*reads)


def test_bytes_are_counted_before_they_are_unpacked() -> None:
    packed = gzip.compress(TOKEN * 50 + DONE)
    made = opened(encoding="gzip")
    made.feed(packed, 200, 190)
    record = made.close(900)
    assert (record.bytes_received, record.output_tokens, record.outcome) == (len(packed), 50, Outcome.OK)


def test_a_packed_reply_that_breaks_keeps_the_chunks_before() -> None:
    packed = gzip.compress(TOKEN * 3, mtime=0)
    made = opened(encoding="gzip")
    made.feed(packed[:-8], 200, 190)
    made.feed(b"\xff" * 8, 210, 200)
    record = made.close(900)
    assert (record.outcome, record.chunk_kind, record.chunk_ns) == (Outcome.MALFORMED, "ccc", (200, 200, 200))
    assert "cannot be read" in (record.error or "")


def test_an_encoding_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(Undecodable, match="'zstd'"):
        exchange().head(200, "text/event-stream", "zstd", None)


def test_a_second_attempt_begins_anew() -> None:
    made = exchange()
    made.retry()
    assert (made.attempts, made.status, made.first_byte_ns) == (2, None, None)


@pytest.mark.parametrize("status", [400, 429, 500, 307])
@pytest.mark.parametrize("failed", [None, Outcome.RESET, Outcome.TRUNCATED])
def test_a_status_outranks_how_the_connection_ended(status: int, failed: Outcome | None) -> None:
    assert judged(b"no", status=status, kind="text/plain", failed=failed) is Outcome.HTTP_ERROR


@pytest.mark.parametrize("failed", [Outcome.TIMEOUT_IDLE, Outcome.TIMEOUT_TOTAL, Outcome.INTERRUPTED])
def test_what_we_ended_ourselves_stays_what_it_was(failed: Outcome) -> None:
    assert judged(b"no", status=500, kind="text/plain", failed=failed) is failed
    assert judged(TOKEN, DONE, failed=failed) is failed


@pytest.mark.parametrize("failed", [None, Outcome.RESET, Outcome.TRUNCATED, Outcome.TIMEOUT_IDLE])
def test_an_error_that_the_server_told_outranks_the_end(failed: Outcome | None) -> None:
    assert judged(TOKEN, ERROR, failed=failed) is Outcome.STREAM_ERROR


@pytest.mark.parametrize("failed", [Outcome.RESET, Outcome.TRUNCATED])
def test_a_lost_connection_is_no_failure_once_done_was_said(failed: Outcome) -> None:
    assert judged(TOKEN, END, DONE, failed=failed) is Outcome.OK
    assert judged(TOKEN, END, failed=failed) is failed  # The usage may still have been on its way.
    assert judged(WHOLE, kind="application/json", failed=failed) is failed


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ((TOKEN, END, DONE), Outcome.OK),
        ((TOKEN * 6, DONE), Outcome.OK),
        ((TOKEN * 5, DONE), Outcome.TRUNCATED),
        ((TOKEN, END), Outcome.OK),
        ((TOKEN,), Outcome.TRUNCATED),
        ((TOKEN, DONE[:-1]), Outcome.TRUNCATED),
        ((), Outcome.TRUNCATED),
        ((TOKEN, b"data: {\n\n", DONE), Outcome.MALFORMED),
    ],
    ids=[
        "both",
        "done after all tokens",
        "done too early",
        "finish reason",
        "neither",
        "half a frame",
        "nothing",
        "broken JSON",
    ],
)
def test_a_stream_that_came_to_its_end_has_its_outcome(pieces: tuple[bytes, ...], outcome: Outcome) -> None:
    assert judged(*pieces) is outcome


def test_a_whole_reply_needs_a_body() -> None:
    assert judged(kind="application/json") is Outcome.MALFORMED
    assert judged(WHOLE, kind="application/json") is Outcome.OK
    assert judged(b"\xef\xbb\xbf" + WHOLE, kind="application/json") is Outcome.OK


def test_every_error_passes_the_mask() -> None:
    def masked(text: str) -> str:
        return text.replace("sk-secret", "***")

    broken = exchange(redact=masked).close(500, Outcome.RESET, "reset by sk-secret")
    told = opened(401, "application/json", redact=masked)
    told.feed(b'{"error":"bad key sk-secret"}', 200, 190)
    assert broken.error == "reset by ***"
    assert told.close(500).error == "bad key ***"


def test_a_redirect_says_where_to() -> None:
    assert "redirects to http://other" in (opened(308).close(500).error or "")
    nowhere = exchange()
    nowhere.head(304, "", "", None)
    assert nowhere.close(500).error == "no message"


def test_what_has_come_so_far_is_told_as_far_as_it_was_digested() -> None:
    made = exchange()
    assert (made.has_undigested, made.tokens_so_far, made.ttft_ns) == (False, 0, None)
    made.first_byte_ns = 130
    made.head(200, "text/event-stream", "", None)
    assert (made.has_undigested, made.tokens_so_far, made.ttft_ns) == (False, 0, None)
    made.feed(b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n', 140, 130)
    made.feed(TOKEN, 150, 140)
    assert (made.has_undigested, made.tokens_so_far, made.ttft_ns) == (True, 0, None)
    made.digest()
    assert (made.has_undigested, made.tokens_so_far, made.ttft_ns) == (False, 1, 150 - 120)
    assert made.takes_events()
    made.feed_events([TOKEN[6:-2]], [170], [], len(TOKEN))
    assert (made.has_undigested, made.tokens_so_far) == (True, 1)
    made.digest()
    assert (made.has_undigested, made.tokens_so_far, made.ttft_ns) == (False, 2, 30)
    made.sent_ns = None
    assert made.ttft_ns is None


def test_a_defect_of_a_reader_ends_the_run_and_the_request_has_a_record() -> None:
    class Broken:
        def feed(self, *_: object) -> None:
            raise ZeroDivisionError

        def close(self, unfinished: bool) -> None:
            raise ZeroDivisionError

    async def main(at: str) -> tuple[RequestRecord, list[object]]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        made = opened()
        made.feed(TOKEN, 150, 140)
        made.digest()
        made._reader = Broken()  # type: ignore[assignment]
        if at == "digest":
            made.feed(TOKEN, 160, 150)
            with pytest.raises(Undecodable, match=DEFECT):
                made.digest()
        return made.close(900), told

    for at in ("digest", "close"):
        record, told = asyncio.run(main(at))
        assert [type(defect) for defect in told] == [ZeroDivisionError]
        assert record.chunk_ns == ()
        assert (record.outcome is Outcome.MALFORMED and record.error == DEFECT) is (at == "close")


def test_a_last_line_without_an_end_is_an_event_of_the_last_read() -> None:
    class Lines:
        def __init__(self) -> None:
            self.fed: list[bytes] = []

        def feed(self, events: list[bytes], *_: object) -> None:
            self.fed += events

        def close(self, unfinished: bool) -> ParsedReply:
            return ParsedReply()

    for last, events in ((b"2}", [b'{"a": 1}', b'{"b": 2}']), (b"", [b'{"a": 1}'])):
        made, reader = opened(), Lines()
        made._parser, made._reader = LineParser(), reader  # type: ignore[assignment]
        made.feed(b'{"a": 1}\n{"b": ', 140, 130)
        made.feed(last, 150, 140)
        made.last_read_ns = 150
        assert made.close(900).chunk_ns == (140, 150)[: len(events)]
        assert reader.fed == events


@pytest.mark.parametrize(
    ("audio", "probe", "store_texts", "stored"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (None, 0, False, True),
        (SentAudio(5), None, False, False),
        (SentAudio(5, "hello"), None, False, True),
    ],
)
def test_an_answer_is_stored_if_something_is_to_be_compared_with_it(
    audio: SentAudio | None, probe: int | None, store_texts: bool, stored: bool
) -> None:
    request = Request(id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None,
                      audio=audio, probe=probe)  # fmt: skip
    made = Exchange(request, 100, 110, Reading(store_texts=store_texts), clock="user")
    made.sent_ns = made.first_byte_ns = 120
    made.head(200, "text/event-stream", "", None)
    made.feed(TOKEN + END + DONE, 150, 140)
    assert (made.close(900).answer is not None) is stored


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (300, "http://other", "the server redirects to http://other: redirects are not followed, give that URL"),
        (399, "http://other", "the server redirects to http://other: redirects are not followed, give that URL"),
        (302, None, "no message"),
        (400, "http://other", "no message"),
    ],
)
def test_only_a_redirect_that_says_where_to_names_the_place(status: int, location: str | None, words: str) -> None:
    made = exchange()
    made.first_byte_ns = 130
    made.head(status, "text/plain", "", location)
    record = made.close(900)
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, status, words)
