"""Requests between processes: the same behind the socket as before it, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.scale.feed import Frames, frame
from bench.workload import Made

TOKENS = st.none() | st.integers(0, 2**40)
REQUESTS = st.lists(
    st.builds(Made, st.binary(max_size=300), st.booleans(), TOKENS, TOKENS, st.none() | st.text(max_size=20)),
    max_size=8,
)


@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_requests_come_out_as_they_went_in_whatever_the_cuts(requests: list[Made], cuts: list[int]) -> None:
    written = b"".join(map(frame, requests))
    frames = Frames()
    found: list[Made] = []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(written)), len(written)]:
        found += frames.feed(written[at:cut])
        at = cut
    assert found == requests


@given(requests=REQUESTS)
def test_a_request_is_there_with_its_last_byte_and_not_before(requests: list[Made]) -> None:
    frames = Frames()
    for made in requests:
        written = frame(made)
        assert [frames.feed(written[i : i + 1]) for i in range(len(written) - 1)] == [[]] * (len(written) - 1)
        assert frames.feed(written[-1:]) == [made]
