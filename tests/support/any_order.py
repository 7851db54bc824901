"""Shuffled order of the tests (`scripts/test --shuffle SEED`): no test may depend on what another test left behind."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence


def shuffled(node_ids: Sequence[str], seed: int) -> list[str]:
    """The ids with the files shuffled, and the tests within each file.

    The cases of one test stay together: their shared fixtures (a tokenizer, a server) are made once. The same ids and
    seed give the same order in every process.
    """
    chance = random.Random(seed)
    ordered = []
    for _, of_file in _shuffled_groups(node_ids, lambda node_id: node_id.partition("::")[0], chance):
        for _, cases in _shuffled_groups(of_file, lambda node_id: node_id.partition("[")[0], chance):
            ordered += cases
    return ordered


def _shuffled_groups(
    node_ids: Sequence[str], key: Callable[[str], str], chance: random.Random
) -> list[tuple[str, list[str]]]:
    groups = [(name, list(ids)) for name, ids in itertools.groupby(sorted(node_ids, key=key), key)]
    chance.shuffle(groups)
    return groups
