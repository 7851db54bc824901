"""Requests and sessions sent between processes arrive unchanged, however the bytes are cut."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.load.frames import Frames, frame
from bench.workload import RequestDraft
from promptset.sessions import Session, Turn
from promptset.sessions.packed import pack_session, unpack_session

TOKENS = st.none() | st.integers(0, 2**40)
REQUESTS = st.lists(
    st.builds(RequestDraft, st.binary(max_size=300), st.booleans(), TOKENS, TOKENS, st.none() | st.text(max_size=20)),
    max_size=8,
)


@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_requests_come_out_as_they_went_in_whatever_the_cuts(requests: list[RequestDraft], cuts: list[int]) -> None:
    written = b"".join(frame(request.pack()) for request in requests)
    frames = Frames()
    found: list[bytes] = []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(written)), len(written)]:
        found += frames.feed(written[at:cut])
        at = cut
    assert [RequestDraft.unpack(packed) for packed in found] == requests


@given(requests=REQUESTS)
def test_a_request_is_there_with_its_last_byte_and_not_before(requests: list[RequestDraft]) -> None:
    frames = Frames()
    for request in requests:
        written = frame(request.pack())
        assert [frames.feed(written[i : i + 1]) for i in range(len(written) - 1)] == [[]] * (len(written) - 1)
        assert frames.feed(written[-1:]) == [request.pack()]


COUNTS = st.none() | st.integers(1, 2**40)
TURNS = st.builds(
    Turn,
    content=st.text(min_size=1, max_size=50),
    output_tokens=COUNTS,
    think_time_s=st.floats(0, 1e6),
    answer=st.none() | st.text(max_size=50),
    input_tokens=COUNTS,
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Turn, ...]:
    """Turns. Each waits for some earlier turns, and continues one of them or none."""
    turns: list[Turn] = []
    for number in range(draw(st.integers(1, 4))):
        after = tuple(sorted(draw(st.sets(st.integers(0, number - 1))))) if number else ()
        turn = draw(TURNS)
        turns.append(replace(
            turn,
            after=after,
            continues=draw(st.sampled_from([None, *after])),
            pause=draw(st.sampled_from([None, "human", "tool"])),
            job=draw(st.none() | st.integers(0, 9)),
            agent=draw(st.none() | st.text(min_size=1, max_size=5)),
            cached_tokens=draw(st.none() | st.integers(0, 2**40)),
        ))  # fmt: skip
    return tuple(turns)


SESSIONS = st.builds(
    Session,
    id=st.text(max_size=9),
    turns=st.lists(TURNS, min_size=1, max_size=4).map(tuple) | graphs(),
    system=st.none() | st.text(max_size=9),
)


@given(sessions=st.lists(SESSIONS, max_size=4), cut=st.integers(0, 300))
def test_sessions_come_out_as_they_went_in(sessions: list[Session], cut: int) -> None:
    written = b"".join(frame(pack_session(session)) for session in sessions)
    frames = Frames()
    found = frames.feed(written[:cut]) + frames.feed(written[cut:])
    assert [unpack_session(packed) for packed in found] == sessions
