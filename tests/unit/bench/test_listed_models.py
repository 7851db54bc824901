"""The models that a server lists: which of them a run uses, and what is noted of a model that is not among them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.errors import TargetError
from bench.target.models import choose_model, some_of, unlisted

TEN = [f"m{n}" for n in range(10)]


@pytest.mark.parametrize(
    ("asked", "listed", "all_named", "model"),
    [
        ("a", None, False, "a"),
        ("a", ["b", "c"], False, "a"),
        (None, None, False, None),
        (None, [], False, None),
        (None, ["b"], False, "b"),
        (None, ["b"], True, "b"),
        (None, ["b", "c"], True, None),
    ],
)
def test_requests_go_to_the_only_model_unless_one_is_named(
    asked: str | None, listed: Sequence[str] | None, all_named: bool, model: str | None
) -> None:
    assert choose_model(asked, listed, all_named=all_named) == model


def test_of_several_models_one_must_be_chosen() -> None:
    with pytest.raises(TargetError, match=r"^the server has several models: choose one with --model \(b, c\)$"):
        choose_model(None, ["b", "c"], all_named=False)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "a"),
        (TEN, ", ".join(TEN)),
        ([*TEN, "x"], f"{', '.join(TEN)} and 1 more"),
        ([*TEN, *["x"] * 1_234], f"{', '.join(TEN)} and 1,234 more"),
    ],
)
def test_ten_models_are_named_and_the_others_counted(names: list[str], words: str) -> None:
    assert some_of(names) == words


ANOTHER = "it may know the model by a second name, or ignore the name and use another model"


@pytest.mark.parametrize(
    ("asked", "listed", "notes"),
    [
        (["a"], None, []),
        (["a"], [], []),
        (["a", None], ["a", "b"], []),
        ([None], ["b"], []),
        (["llama3"], ["llama3:latest"], []),
        (["gemini"], ["models/gemini"], []),
        (["llama3:8b"], ["llama3:latest"],
         [f"the server answers for model 'llama3:8b', but lists only llama3:latest: {ANOTHER}"]),
        (["x", "a", "y", "x"], ["a"], [f"the server answers for models 'x', 'y', but lists only a: {ANOTHER}"]),
    ],
)  # fmt: skip
def test_a_model_that_is_not_listed_is_noted_once(
    asked: list[str | None], listed: Sequence[str] | None, notes: list[str]
) -> None:
    assert unlisted(asked, listed) == notes
