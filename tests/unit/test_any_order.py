"""`--shuffle`: a different order of files and tests, the same in each process. The cases of a test stay together."""

from __future__ import annotations

import itertools

from tests.support.any_order import shuffled

IDS = [f"tests/test_{file}.py::test_{name}[{case}]" for file in "abcdef" for name in "uvwxyz" for case in range(3)]


def test_each_test_runs_once_in_an_order_that_only_the_seed_decides() -> None:
    assert sorted(shuffled(IDS, 1)) == sorted(IDS)
    assert shuffled(IDS, 1) == shuffled(IDS, 1)
    assert shuffled(IDS, 1) != shuffled(IDS, 2)


def test_files_and_tests_stand_elsewhere_and_cases_stay_together() -> None:
    def order(node_ids: list[str], end: str) -> list[str]:
        return [name for name, _ in itertools.groupby(node_id.partition(end)[0] for node_id in node_ids)]

    found = shuffled(IDS, 3)
    assert order(found, "::") != order(IDS, "::")
    assert len(order(found, "::")) == 6
    assert len(order(found, "[")) == 36
    first, second = (order([i for i in found if f"test_{file}.py" in i], "[") for file in "ab")
    assert [name[-1] for name in first] != [name[-1] for name in second]
    assert [i[-2] for i in found] == ["0", "1", "2"] * 36
