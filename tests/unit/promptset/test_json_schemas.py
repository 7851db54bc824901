"""Which documents JSON schemas accept, for valid and invalid schemas. test_probe_sets.py tests their problems."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from promptset.json_schemas import accepts


def test_a_schema_accepts_what_fits_it() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    values: list[object] = [{"a": 1}, {"a": "1"}, {}, []]
    assert [accepts(schema, value) for value in values] == [True, False, True, False]


@pytest.mark.parametrize(
    "wrong",
    [{"type": "strng"}, {"properties": 3}, {"$schema": 3}, {"pattern": "("}, {"$ref": "#/x"}, {"$ref": "#"}],
    ids=str,
)
def test_a_schema_that_is_wrong_accepts_nothing(wrong: dict[str, object]) -> None:
    assert not accepts(wrong, {"a": 1})


def test_a_defect_of_the_checker_is_not_taken_for_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jsonschema.Draft202012Validator.is_valid", Mock(side_effect=TypeError("a defect")))
    with pytest.raises(TypeError, match="a defect"):
        accepts({"type": "object"}, {})


def test_no_address_of_a_schema_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", fetched := Mock(side_effect=OSError))
    assert not accepts({"$ref": "http://127.0.0.1:9/schema"}, {})
    fetched.assert_not_called()
