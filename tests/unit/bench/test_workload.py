"""Requests made ahead and on demand are the same, numbered in order."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bench.rng import stream, unique_id
from bench.sources.rows import RowsSpec
from bench.workload import Encoded, RequestDraft, Supply
from bench.workload.stock import Stock
from promptset.errors import SpecError
from promptset.samples import Sample


def supply() -> Supply:
    samples = (Sample(prompt=f"prompt {i}", input_tokens=i, session=f"s{i}") for i in itertools.count())
    return Supply(samples, lambda sample: Encoded(str(sample.prompt).encode(), True, 7), "run")


def test_requests_are_numbered_and_named_in_the_order_of_taking() -> None:
    made = supply()
    taken = [made.take("run") for _ in range(3)]
    assert [(r.id, r.index, r.body) for r in taken] == [(f"run-{i}", i, f"prompt {i}".encode()) for i in range(3)]
    assert [(r.session, r.input_tokens_asked, r.output_tokens_asked) for r in taken] == [
        (f"s{i}", i, 7) for i in range(3)
    ]


def test_requests_made_ahead_are_the_ones_that_would_have_been_made() -> None:
    ahead, on_demand = supply(), supply()
    told: list[int] = []
    ahead.stock.make_ahead(205, progress=told.append)
    assert told == [100, 200, 205]
    assert [ahead.take("run") for _ in range(300)] == [on_demand.take("run") for _ in range(300)]


def test_the_phase_is_that_of_the_moment_of_taking() -> None:
    made = supply()
    made.stock.make_ahead(2)
    assert [made.take(phase).phase for phase in ("warmup", "run", "warmup")] == ["warmup", "run", "warmup"]


def test_rows_start_again_when_they_are_used_up(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
    rows = RowsSpec(path=path).open(None, seed=0)
    assert (len(rows), rows.first.prompt) == (2, "a")
    assert [next(rows).prompt for _ in range(5)] == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize(("first", "step"), [(0, 1), (0, 3), (2, 3)])
def test_it_is_known_which_requests_were_taken_and_which_of_them_repeat_a_row(
    first: int, step: int, tmp_path: Path
) -> None:
    samples = (Sample(prompt="a") for _ in itertools.count())
    made = Supply(samples, lambda sample: Encoded(b"", True, 7), "run", first=first, step=step)
    made.stock.make_ahead(9)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n' * 7)
    rows = RowsSpec(path=tmp_path / "rows.jsonl").open(None, seed=0)
    taken: list[int] = []
    for _ in range(12):
        assert list(made.taken) == taken
        assert rows.repeats(made.taken) == sum(number >= 7 for number in taken)
        taken.append(made.take("run").index)


def test_no_more_is_made_ahead_than_the_bytes_allow() -> None:
    made = supply()
    assert made.stock.make_ahead(100, most_bytes=80) == 10  # Each has 8 bytes.
    assert [made.take("run").index for _ in range(11)] == [*range(11)]


def test_a_stock_has_so_many_requests_and_so_many_things_more() -> None:
    numbers = itertools.count()
    stock: Stock[int] = Stock(lambda: next(numbers), lambda number: (3, 10))
    assert stock.make_ahead(7, more=2) == 5, "three things have 9 requests, and two more things are made"
    assert (len(stock), stock.requests, stock.bytes) == (5, 15, 50)
    assert stock.make_ahead(1, more=9, most_bytes=80) == 3
    assert [stock.take() for _ in range(9)] == [*range(9)]
    assert (stock.requests, stock.bytes, stock.late) == (0, 0, 1)


class ThreeAtOnce:
    """A feed that gives three requests at each wait."""

    def __init__(self, made: Supply) -> None:
        self._made = made
        self._next = 4
        self.asked = 0

    def more(self) -> None:
        self.asked += 1

    def needed(self) -> None:
        self.wait()

    def wait(self) -> None:
        for _ in range(3):
            draft = RequestDraft(f"prompt {self._next}".encode(), True, self._next, 7, f"s{self._next}")
            self._made.add(draft.pack())
            self._next += 1


def test_a_feed_goes_on_where_the_supply_ended_and_is_asked_when_half_is_gone() -> None:
    made, alone = supply(), supply()
    made.stock.make_ahead(4)
    feed = ThreeAtOnce(made)
    made.stock.feed_from(feed, requests=4, most_bytes=10**6)
    assert not made.has_room
    taken, asked = [], []
    for _ in range(10):
        taken.append(made.take("run"))
        asked.append(feed.asked)
    assert taken == [alone.take("run") for _ in range(10)]
    assert asked[:5] == [0, 0, 1, 2, 2]
    assert made.stock.late == 2
    made.add(RequestDraft(b"x" * 10**6, True, None, None, None).pack())
    assert not made.has_room, "the stock has too many bytes"
    for _ in range(3):
        made.take("run")
    assert made.has_room, "the bytes were taken"


def test_asked_lengths_take_the_place_of_the_rows_own(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "output_tokens": 5}\n{"prompt": "b", "output_tokens": 6}\n')
    own = RowsSpec(path=path).open(None, seed=0)
    assert [next(own).output_tokens for _ in range(2)] == [5, 6]
    asked = RowsSpec(path=path, output_tokens="uniform:100..900").open(None, seed=0)
    drawn = [next(asked).output_tokens for _ in range(2)]
    assert all(n is not None and 100 <= n <= 900 for n in drawn)
    again = RowsSpec(path=path, output_tokens="uniform:100..900").open(None, seed=0)
    assert [next(again).output_tokens for _ in range(2)] == drawn


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(SpecError):
        RowsSpec(path=tmp_path / "rows.jsonl").open(None, seed=0)


def test_streams_depend_on_seed_purpose_and_id_alone() -> None:
    keys: list[Any] = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", "1")]
    draws = {key: stream(*key).random() for key in keys}
    assert len(set(draws.values())) == 5
    assert stream(0, "a").random() == draws[0, "a"]
    # Must be the same in every version and on every machine, because a result states its seed.
    assert stream(0, "arrivals").getrandbits(32) == 3_153_900_929


def test_unique_ids_differ() -> None:
    assert len({unique_id() for _ in range(100)}) == 100
