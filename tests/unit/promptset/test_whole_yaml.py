"""Invalid YAML causes only the documented errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promptset.whole_file import load_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", yaml.YAMLError),
        ("[" * 1000, RecursionError),
        ('"\\UF1000600"', ValueError),  # Too large for a C int.
        ('"\\U00110000"', ValueError),  # One above the last code point.
    ],
)
def test_each_way_of_being_no_yaml_is_an_error_that_callers_expect(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_yaml(text)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b'\xef\xbb\xbfrate: 2\r\nnote: "\\U0001F600"\r\n')
    assert load_yaml(path) == {"rate": 2, "note": "\U0001f600"}
