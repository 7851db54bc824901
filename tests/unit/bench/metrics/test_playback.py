"""Playback: a player's waits, by hand and within the bounds of stamps; the ledger's truth agrees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy.join import Pair
from bench.accuracy.truth import stamped_values, true_values
from bench.clock import NS_PER_S
from bench.metrics import audio_metrics
from bench.metrics.catalog import REQUEST_METRICS
from bench.records import Outcome, RequestRecord, checked
from bench.records.record_table import RecordTable
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.tables import value_of

RATE = 48_000


def spoken(times_ms: list[float], lengths_ms: list[int], *, after_ms: int = 0, **fields: Any) -> RequestRecord:
    sizes = tuple(RATE * length // 1000 for length in lengths_ms)
    return checked(made_record(
        chunks_ms=times_ms, kinds="a" * len(sizes), inputs=1, tokens=None, output_tokens=None, chunk_audio_bytes=sizes,
        audio_bytes=sum(sizes), audio_bytes_per_s=RATE, play_after_ns=after_ms * MS, **fields,
    ))  # fmt: skip


def values_of(record: RequestRecord) -> dict[str, float]:
    table = RecordTable([record])
    return {
        name: float(REQUEST_METRICS[name].of(table)[0]) for name in ("ttfa", "rtf", "playback_stall", "playback_stalls")
    }


def test_audio_is_measured_at_endpoints_that_have_it() -> None:
    for measures in ((), ("ttfa", "rtf")):
        latency = made_summary([spoken([50, 150], [80, 80])], measures=measures)["latency"]
        shown = {REQUEST_METRICS[name].key for name in measures}
        assert {metric.key for metric in REQUEST_METRICS.values() if metric.of_few} & latency.keys() == shown
    assert latency["ttfa_ms"]["mean"] == 50


@pytest.mark.parametrize(
    ("times_ms", "lengths_ms", "after_ms", "stall_ms", "stalls"),
    [
        # Chunks of half a second, at 0, 0.4, 1.3 and 1.4 s. The buffer is empty from 1.0 to 1.3 s.
        ([50, 450, 1_350, 1_450], [500] * 4, 0, 300, 1),
        ([50, 450, 1_350, 1_450], [500] * 4, 200, 100, 1),
        ([50, 450, 1_350, 1_450], [500] * 4, 300, 0, 0),
        # Each chunk is late, with a pause before it.
        ([50, 150, 250], [80] * 3, 0, 40, 2),
        ([50, 150, 250], [80] * 3, 30, 10, 1),
        # Once the player has paused for a delay, the same delay causes no second pause.
        ([50, 250, 260, 440], [100, 200, 10, 50], 0, 100, 1),
        ([50], [10], 0, 0, 0),
    ],
)
def test_stalls_by_hand(
    times_ms: list[float], lengths_ms: list[int], after_ms: int, stall_ms: float, stalls: int
) -> None:
    found = values_of(spoken(times_ms, lengths_ms, after_ms=after_ms))
    assert (found["playback_stall"], found["playback_stalls"]) == (pytest.approx(stall_ms), stalls)
    assert (found["ttfa"], found["rtf"]) == (50, pytest.approx(times_ms[-1] / sum(lengths_ms)))


def test_there_is_a_pause_before_each_chunk_but_the_first_at_most() -> None:
    """The first of three chunks of 100 ms came at 30 to 50 ms: the player waits 20 ms in total, or not at all."""
    bounds = tuple(START_NS + ms * MS for ms in (30, 150, 250))
    table = RecordTable([spoken([50, 150, 250], [100, 100, 100], after_ms=0, chunk_bound_ns=bounds)])
    stalls = REQUEST_METRICS["playback_stalls"]
    assert [ends.tolist() for ends in stalls.bounds(table, stalls.of(table))] == [[0], [2]]
    # The player waits 20 ms in any case: before the third chunk, or 10 ms before each of the last two.
    bounds = tuple(START_NS + ms * MS for ms in (50, 150, 270))
    table = RecordTable([spoken([50, 160, 270], [100, 100, 100], after_ms=0, chunk_bound_ns=bounds)])
    assert [ends.tolist() for ends in stalls.bounds(table, stalls.of(table))] == [[1], [2]]
    alone = RecordTable([spoken([50], [100], chunk_bound_ns=(START_NS + 30 * MS,))])
    for name, ends in {"ttfa": [[30], [50]], "playback_stall": [[0], [20]]}.items():
        metric = REQUEST_METRICS[name]
        assert [each.tolist() for each in metric.bounds(alone, metric.of(alone))] == ends
    late = RecordTable([spoken([50, 250], [100, 100], chunk_bound_ns=tuple(START_NS + ms * MS for ms in (50, 230)))])
    rtf = REQUEST_METRICS["rtf"]  # 230 to 250 ms for 200 ms of audio.
    assert [ends.tolist() for ends in rtf.bounds(late, rtf.of(late))] == [[pytest.approx(1.15)], [pytest.approx(1.25)]]


def test_a_pause_is_longer_than_a_nanosecond_and_the_rounding_of_a_length_is_none() -> None:
    for late_ns, stalls in ((0, 0), (1, 0), (2, 1), (3, 1)):
        # A byte plays for a ns. There are two chunks of 10 bytes; the second comes 10 ns after the first, plus the
        # delay.
        at = (START_NS + 50, START_NS + 60 + late_ns)
        record = replace(spoken([1, 2], [0, 0]), chunk_ns=at, chunk_audio_bytes=(10, 10), audio_bytes_per_s=NS_PER_S)
        found = values_of(record)
        assert (found["playback_stall"], found["playback_stalls"]) == (pytest.approx(late_ns / MS), stalls)


@pytest.mark.parametrize(
    ("fields", "length_s"),
    [
        ({"audio_bytes_per_s": 1, "audio_bytes": 1}, 1.0),
        ({"audio_bytes_per_s": 2, "audio_bytes": 3, "audio_sent_ns": 7 * NS_PER_S}, 1.5),
        ({"audio_bytes_per_s": 2, "audio_bytes": 0, "audio_sent_ns": 1}, None),
        ({"audio_sent_ns": 1}, 1e-9),
        ({"audio_bytes_per_s": 0, "audio_bytes": 3, "audio_sent_ns": 7 * NS_PER_S}, 7.0),
        ({"audio_bytes_per_s": None, "audio_bytes": 3, "audio_sent_ns": 7 * NS_PER_S}, 7.0),
        ({"audio_bytes_per_s": 0, "audio_bytes": 3, "audio_sent_ns": 0}, None),
        ({"audio_bytes_per_s": 0, "audio_bytes": 3}, None),
        ({"audio_bytes_per_s": 2, "audio_bytes": 3, "outcome": Outcome.RESET}, None),
    ],
)
def test_the_length_of_audio_is_that_of_what_was_received_or_of_what_was_sent_for_a_reply_without_audio(
    fields: dict[str, Any], length_s: float | None
) -> None:
    assert value_of(audio_metrics.audio_s, made_record(**fields)) == length_s


def test_a_reply_without_audio_among_others_with_it_has_no_first_audio_and_waits_for_none() -> None:
    silent = replace(spoken([50], [10]), chunk_kind="c", chunk_audio_bytes=(0,))
    still = replace(spoken([50], [10]), audio_bytes_per_s=0)
    slow = replace(spoken([50, 3_050], [2_000, 1_000]), chunk_audio_bytes=(2, 1), audio_bytes_per_s=1)
    table = RecordTable([silent, spoken([50], [10]), still, slow])
    for name, values in {
        "ttfa": [None, 50, 50, 50], "playback_stall": [None, 0, None, 1_000], "playback_stalls": [None, 0, None, 1],
    }.items():  # fmt: skip
        assert [x if x == x else None for x in REQUEST_METRICS[name].of(table).tolist()] == values


def test_a_pause_of_less_than_a_millisecond_is_one_for_certain() -> None:
    # The second chunk is 20 ms late. Its bound says at least 0.5 ms, 0, or not late at all.
    for bound_ms, least in ((150.5, 1), (150, 0), (140, 0)):
        table = RecordTable([spoken([50, 170], [100, 100], chunk_bound_ns=(None, START_NS + round(bound_ms * MS)))])
        stalls = REQUEST_METRICS["playback_stalls"]
        assert [ends.tolist() for ends in stalls.bounds(table, stalls.of(table))] == [[least], [1]]


SHAPES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300), st.integers(0, 80)), min_size=1, max_size=9)


@given(SHAPES, st.sampled_from([0, 40, 500]))
def test_what_happened_lies_between_what_the_stamps_allow(shape: list[tuple[int, int, int]], after_ms: int) -> None:
    came: list[float] = []
    stamps: list[float] = []
    for gap, _, late in shape:
        came.append((came[-1] if came else 20) + gap)
        stamps.append(max(came[-1] + late, stamps[-1] if stamps else 0))
    lengths = [length for _, length, _ in shape]
    bounds = tuple(START_NS + round(ms * MS) for ms in came)
    truth = RecordTable([spoken(came, lengths, after_ms=after_ms)])
    stamped = RecordTable([spoken(stamps, lengths, after_ms=after_ms, chunk_bound_ns=bounds)])
    for name in ("ttfa", "rtf", "playback_stall", "playback_stalls"):
        metric = REQUEST_METRICS[name]
        least, greatest = metric.bounds(stamped, metric.of(stamped))
        assert least[0] - 1e-6 <= metric.of(truth)[0] <= greatest[0] + 1e-6, name
        assert least[0] - 1e-6 <= metric.of(stamped)[0] <= greatest[0] + 1e-6, name


@given(SHAPES, st.sampled_from([0, 40, 500]))
def test_the_truth_has_the_same_definitions(shape: list[tuple[int, int, int]], after_ms: int) -> None:
    came: list[float] = []
    for gap, _, _ in shape:
        came.append((came[-1] if came else 20) + gap)
    record = spoken(came, [length for _, length, _ in shape], after_ms=after_ms)
    line = {
        "chunk_kind": record.chunk_kind, "chunk_tokens": [0] * len(record.chunk_ns),
        "received_ns": record.sent_ns, "write_ns": list(record.chunk_ns), "end_ns": record.end_ns, "status": 200,
        "audio_out_bytes": list(record.chunk_audio_bytes or ()), "audio_bytes_per_s": RATE,
    }  # fmt: skip
    true = true_values(Pair(record, line, "speech"))
    stamped, least, greatest = stamped_values(record, (), 0)
    assert stamped is least is greatest
    for name, key in (("ttfa", "ttfa_ms"), ("rtf", "rtf"), ("playback_stall", "playback_stall_ms"),
                      ("playback_stalls", "playback_stalls"), ("e2el", "e2el_ms")):  # fmt: skip
        value = REQUEST_METRICS[name].of(RecordTable([record]))[0]
        assert true[key] == stamped[key] == [pytest.approx(value, rel=1e-9, abs=1e-6)], name


def test_without_a_known_length_there_is_a_first_audio_and_no_more() -> None:
    found = values_of(spoken([50, 60], [10, 10]).__class__(**{
        **{name: getattr(spoken([50, 60], [10, 10]), name) for name in RequestRecord.__struct_fields__},
        "audio_bytes_per_s": None,
    }))  # fmt: skip
    assert found["ttfa"] == 50
    assert all(found[name] != found[name] for name in ("rtf", "playback_stall", "playback_stalls"))
    assert audio_metrics.audio_s(RecordTable([made_record()])).tolist() != [0.0]
