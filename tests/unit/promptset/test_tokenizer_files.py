"""Tokenizers from the files that model makers ship. These files are small and generated here; test_real_tokenizers.py
has real ones."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from promptset.errors import SpecError
from promptset.tokenizer_files import tokenizer_json, wordpiece
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "un", "##believ", "##able", ",", "中"]
BOS_TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"


def test_wordpiece_takes_the_longest_pieces_and_lowers_where_it_knows_no_capitals(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n", encoding="utf-8")
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.encode("Hello, UNBELIEVABLE 中国") == [5, 9, 6, 7, 8, 10, 1]
    assert tokenizer.encode("hello", add_special_tokens=True) == [2, 5, 3]
    assert tokenizer.encode("[MASK]hello") == [4, 5]


def test_wordpiece_keeps_capitals_where_it_has_some_or_the_configuration_says_so(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDPIECES, "Hello"]), encoding="utf-8")
    assert load_tokenizer(str(tmp_path)).encode("Hello hello") == [11, 5]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert load_tokenizer(str(tmp_path)).encode("Hello hello") == [5, 5]


def test_a_wordpiece_vocabulary_without_its_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\nhello\n")
    with pytest.raises(SpecError, match=r"vocab\.txt: the vocabulary lacks \[CLS\], \[SEP\]"):
        load_tokenizer(str(tmp_path))


def test_a_file_of_another_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(b"\x7fELF")
    advice = (
        "give a model's directory with tokenizer.json; SentencePiece, tiktoken and tekken files are read from their"
    )
    with pytest.raises(SpecError, match=re.escape(advice)):
        load_tokenizer(str(path))


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "a.model.v3", "qwen.tiktoken", "tekken_24.json"])
def test_without_the_extra_a_directory_that_needs_transformers_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # As if it were not installed.
    (tmp_path / name).write_bytes(b"\n")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    advice = (
        f"{name} is read by transformers, which is not installed: pip install transformers sentencepiece tiktoken protobuf, "
        "or give a directory with tokenizer.json"
    )
    with pytest.raises(SpecError, match=re.escape(advice)):
        load_tokenizer(str(tmp_path))


def test_a_directory_is_searched_for_a_tokenizer_json_first_and_a_vocabulary_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "tokenizer.model").write_bytes(b"\n")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDPIECES), encoding="utf-8")
    with pytest.raises(SpecError, match=r"tokenizer\.model is read by transformers, which is not installed"):
        load_tokenizer(str(tmp_path))
    tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path)
    assert load_tokenizer(str(tmp_path)).count("the") == 2, "a BOS and a word"
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.model").unlink()
    assert load_tokenizer(str(tmp_path)).count("hello") == 3, "WordPiece: [CLS] hello [SEP]"


def chat_ids(folder: Path) -> list[int]:
    return load_tokenizer(str(folder)).encode_chat([{"role": "user", "content": "the"}])


def bpe_folder(folder: Path, template: str, **config: object) -> Path:
    """A tokenizer whose file adds a BOS before texts; by default the configuration names none."""
    return tiny_tokenizers.save(
        tiny_tokenizers.byte_level_bpe(),
        folder,
        template=template,
        **{"bos_token": None, "eos_token": None, **config},
    )


def test_a_template_gets_the_tokens_that_a_tokenizer_json_puts_around_a_text(tmp_path: Path) -> None:
    folder = bpe_folder(tmp_path, BOS_TEMPLATE)
    assert "bos_token" not in json.loads((folder / "tokenizer_config.json").read_text())
    assert chat_ids(folder)[0] == 0


def test_a_tokenizer_json_that_adds_nothing_after_a_text_names_no_last_token(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(bpe_folder(tmp_path, "{{ messages[0].content }}{{ eos_token }}")))
    with pytest.raises(SpecError, match="uses eos_token, which no file names"):
        tokenizer.count_chat([{"role": "user", "content": "hello"}])


@pytest.mark.parametrize(("named", "first"), [("</s>", [1]), (None, [])])
def test_the_configuration_knows_better_than_the_file_which_token_begins_a_chat(
    tmp_path: Path, named: str | None, first: list[int]
) -> None:
    folder = bpe_folder(tmp_path, BOS_TEMPLATE)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": named}))
    assert chat_ids(folder)[:-1] == first


def test_a_special_token_that_no_file_names_is_refused_when_a_chat_is_counted(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(bpe_folder(tmp_path, "{{ bos_token }}{{ image_token }}{{ messages[0].content }}")))
    assert tokenizer.count("the") == 2, "prompts need no template"
    advice = r'uses image_token, which no file names: write "image_token": .* into a tokenizer_config.json'
    with pytest.raises(SpecError, match=advice):
        tokenizer.count_chat([{"role": "user", "content": "hello"}])


def test_a_special_token_of_its_own_name_comes_from_the_configuration(tmp_path: Path) -> None:
    extra = {"extra_special_tokens": {"image_token": "</s>"}}
    assert chat_ids(bpe_folder(tmp_path, "{{ image_token }}{{ messages[0].content }}", **extra))[0] == 1


def test_a_template_gets_the_special_tokens_of_a_wordpiece_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n")
    (tmp_path / "chat_template.jinja").write_text("{{ cls_token }}{{ messages[0].content }}{{ sep_token }}")
    assert load_tokenizer(str(tmp_path)).encode_chat([{"role": "user", "content": "hello"}]) == [2, 4, 3]


def test_wordpiece_has_no_special_tokens_beyond_its_vocabulary() -> None:
    words = ["[UNK]", "[CLS]", "[SEP]", "hello"]
    made = wordpiece.convert("\n".join(words).encode(), {})
    assert made.tokenizer.get_vocab(with_added_tokens=True) == {word: number for number, word in enumerate(words)}
    assert made.special_tokens == {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    whole = wordpiece.convert("\n".join(WORDPIECES).encode(), {})
    assert {*whole.special_tokens} == {"unk_token", "cls_token", "sep_token", "pad_token", "mask_token"}


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b"[UNK]\n[CLS]", True), (b"[PAD]\n[UNK]\n", True), (b"x[UNK]\n", False), (b"", False),
    ],
)  # fmt: skip
def test_wordpiece_is_known_by_its_unknown_token(content: bytes, is_one: bool) -> None:
    assert wordpiece.recognizes(content) is is_one


@pytest.mark.parametrize(("files", "listed"), [
    ([], "nothing"), (["a"], "a"), ([*"edcba"], "a, b, c, d, e"), ([*"fedcba"], "a, b, c, d, e, ..."),
])  # fmt: skip
def test_a_directory_without_a_tokenizer_is_described_by_five_of_its_files(
    files: list[str], listed: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(SpecError) as refused:
        load_tokenizer(str(tmp_path))
    assert f"has no tokenizer.json (it holds: {listed}): give a directory" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b'{"version": "1.0"}', True), (b' \n{\n  "version": 1}', True), (b"{}", True),
        (b'{"config": {}}', False), (b' { \n"config": {}}', False), (b"[1]", False), (b"", False),
    ],
)  # fmt: skip
def test_a_tokenizer_json_is_an_object_that_does_not_begin_like_tekken(content: bytes, is_one: bool) -> None:
    assert tokenizer_json.recognizes(content) is is_one
