"""Tokenizers from the files that makers ship. The files are made here, small; the real ones: test_real_tokenizers.py."""

from __future__ import annotations

import base64
import itertools
import json
import re
import struct
from pathlib import Path

import pytest

from promptset.errors import SpecError
from promptset.tokenizer_files import FORMATS
from promptset.tokenizer_files.tiktoken import ENCODINGS
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers

TOKENS = ["he", "ll", "hell", "hello", " w", "or", "ld", " wor", " world", "12", "123", "ab", "bc", "xyz"]
"""Of `abc`, the lower rank takes the `b`; `xyz` is a token of no two others, and found only as a whole."""
RANKS = {**{bytes([i]): i for i in range(256)}, **{token.encode(): 256 + i for i, token in enumerate(TOKENS)}}


def tiktoken_file(folder: Path, ranks: dict[bytes, int] = RANKS) -> Path:
    path = folder / "small.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items()))
    return path


def merged(text: str) -> list[int]:
    """tiktoken's rule, written down naively: of all neighbours that make a token, the pair of the lowest rank."""
    parts = [bytes([byte]) for byte in text.encode()]
    while True:
        pairs = [(RANKS[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in RANKS]
        if not pairs:
            return [RANKS[part] for part in parts]
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize(
    "text", ["hello world", "hellohello", "shell wor", "é中\n", "12345", "", " w w wo world", "abc", "xyz", "xyzw"]
)
def test_tiktoken_merges_by_rank_within_what_the_pattern_splits(tmp_path: Path, text: str) -> None:
    tokenizer = load_tokenizer(f"{tiktoken_file(tmp_path)}#cl100k")
    split = re.findall(r" ?[^\W\d]+|\d{1,3}|\s+|.", text)  # cl100k's pattern, for these texts
    whole = [[RANKS[part.encode()]] if part.encode() in RANKS else merged(part) for part in split]
    assert tokenizer.encode(text) == [number for part in whole for number in part]
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_tiktoken_encoding_is_told_by_the_number_of_its_tokens(tmp_path: Path) -> None:
    for name, encoding in ENCODINGS.items():
        if name == "llama3":
            many = {**RANKS, **{f"\x00{i}".encode(): i for i in range(len(RANKS), encoding.tokens[0])}}
            tokenizer = load_tokenizer(str(tiktoken_file(tmp_path, many)))
            assert tokenizer.encode("<|begin_of_text|>") == [128000]
            assert tokenizer.encode("<|eot_id|>") == [128009]
            assert tokenizer.count("hello") == 2, "a BOS, which Llama 3's tokenizer adds"


def test_a_tiktoken_file_of_unknown_size_asks_for_the_encoding(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"its 270 tokens are those of no encoding.*#cl100k.*behind the file's name"):
        load_tokenizer(str(tiktoken_file(tmp_path)))
    with pytest.raises(SpecError, match="#quen is no encoding: write one of #gpt2"):
        load_tokenizer(f"{tiktoken_file(tmp_path)}#quen")


def test_special_tokens_of_a_tiktoken_file_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "added_tokens_decoder": {"300": {"content": "<|turn|>"}},
                "chat_template": "<|turn|>{{ messages[0].content }}",
            }
        )
    )
    tokenizer = load_tokenizer(f"{tiktoken_file(tmp_path)}#qwen")
    assert tokenizer.encode("<|turn|>hello") == [300, RANKS[b"hello"]]
    assert tokenizer.count_chat([{"role": "user", "content": "hello"}]) == 2


def test_a_damaged_tiktoken_line_is_named(tmp_path: Path) -> None:
    path = tiktoken_file(tmp_path)
    path.write_bytes(path.read_bytes() + b"aGVs!!= 400\n")
    with pytest.raises(SpecError, match=r"small\.tiktoken: line 271 is not a token in base64"):
        load_tokenizer(f"{path}#qwen")


def test_tekken_numbers_its_tokens_behind_the_special_ones_and_keeps_as_many_as_it_says(tmp_path: Path) -> None:
    rows = [{"rank": rank, "token_bytes": base64.b64encode(token).decode()} for token, rank in RANKS.items()]
    config = {"pattern": r" ?\p{L}+|\p{N}|\s+", "default_vocab_size": 100 + 259, "default_num_special_tokens": 100}
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps({"config": config, "vocab": rows}))
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.encode("hell") == [100 + RANKS[b"hell"]]
    assert len(tokenizer.encode("hello")) > 1, "this token lies behind the vocabulary's end"
    assert tokenizer.encode("[INST]hell[/INST]") == [3, 100 + RANKS[b"hell"], 4]
    assert tokenizer.count("hell") == 2, "a BOS"
    assert tokenizer.encode("hell", add_special_tokens=True)[0] == 1


def field(number: int, value: bytes | int | float) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (2**64 - 1))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + varint(rest)


def sentencepiece_file(
    folder: Path, kind: int, pieces: list[tuple[str, float, int]], *, trainer: bytes = b"", normalizer: bytes = b""
) -> Path:
    made = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, what)) for text, score, what in pieces
    )
    path = folder / "tokenizer.model"
    path.write_bytes(made + field(2, field(3, kind) + trainer) + field(3, field(4, 0) + normalizer))
    return path


ENDS = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
BYTES = [(f"<0x{i:02X}>", 0.0, 6) for i in range(256)]
PIECES = [("▁h", -1.0, 1), ("el", -2.0, 1), ("lo", -3.0, 1), ("▁hel", -4.0, 1), ("▁hello", -5.0, 1), ("▁lo", -6.0, 1)]
PIECES += [("he", -7.0, 1), ("low", -8.0, 1)]  # Of `helow`, `lo` is had first, and `el` before `he`.
LETTERS = [(letter, -100.0 - i, 1) for i, letter in enumerate("▁helow")]


def test_sentencepiece_bpe_merges_by_score_and_spells_the_unknown_in_bytes(tmp_path: Path) -> None:
    pieces = [*ENDS, *BYTES, *PIECES, *LETTERS]
    ids = {text: i for i, (text, _, _) in enumerate(pieces)}
    tokenizer = load_tokenizer(str(sentencepiece_file(tmp_path, 2, pieces, trainer=field(35, 1)).parent))
    assert tokenizer.encode("hello") == [ids["▁hello"]]
    assert tokenizer.encode("hello lo") == [ids["▁hello"], ids["▁lo"]]
    assert tokenizer.encode("whelow") == [ids[part] for part in ("▁", "w", "h", "el", "o", "w")]
    assert tokenizer.encode("hel  w") == [ids["▁hel"], ids["▁"], ids["▁"], ids["w"]]
    assert tokenizer.encode(" lo") == [ids["▁"], ids["▁lo"]], "a space goes before a text that begins with one, too"
    assert tokenizer.encode("é") == [ids["▁"], ids["<0xC3>"], ids["<0xA9>"]]
    assert tokenizer.encode("hello", add_special_tokens=True) == [1, ids["▁hello"]]
    assert tokenizer.decode(tokenizer.encode("hello é lo")) == "hello é lo"


def test_sentencepiece_unigram_takes_the_likeliest_pieces(tmp_path: Path) -> None:
    pieces = [*ENDS, ("▁he", -1.0, 1), ("llo", -1.0, 1), ("▁hel", -3.0, 1), ("lo", -3.0, 1), *LETTERS]
    tokenizer = load_tokenizer(str(sentencepiece_file(tmp_path, 1, pieces, trainer=field(41, -1))))
    assert tokenizer.encode("hello") == [3, 4]
    assert tokenizer.count("hello") == 2, "no BOS, the model has none (-1)"


def test_sentencepiece_settings_and_configuration_count(tmp_path: Path) -> None:
    pieces = [*ENDS, *PIECES, *LETTERS]
    path = sentencepiece_file(tmp_path, 2, pieces, normalizer=field(3, 0) + field(4, 1))
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false, "add_eos_token": true}')
    tokenizer = load_tokenizer(str(path))
    ids = {text: i for i, (text, _, _) in enumerate(pieces)}
    # No space before the text, several spaces are one, and an EOS instead of a BOS.
    assert tokenizer.encode("el  hello ", add_special_tokens=True) == [ids["el"], ids["▁hello"], 2]


def test_sentencepiece_of_words_and_a_damaged_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"tokenizer\.model: SentencePiece models of words"):
        load_tokenizer(str(sentencepiece_file(tmp_path, 3, ENDS)))
    with pytest.raises(SpecError, match="keep the space behind a word"):
        load_tokenizer(str(sentencepiece_file(tmp_path, 1, [*ENDS, *PIECES], trainer=field(24, 1))))
    with pytest.raises(SpecError, match="its token for the unknown is none of its pieces"):
        load_tokenizer(str(sentencepiece_file(tmp_path, 1, [*ENDS, *PIECES], trainer=field(40, 9999))))
    path = sentencepiece_file(tmp_path, 2, [*ENDS, *PIECES, *LETTERS])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(SpecError, match="the SentencePiece model is damaged"):
        load_tokenizer(str(path))


PLAIN = field(3, 0) + field(4, 0)
"""A normalizer that puts no space before a text, and removes none."""
RUNS = [("▁", -2.5, 1), ("▁▁", -5.0, 1)]
THREES = [("▁", -2.5, 1), ("▁▁▁", -7.5, 1)]


@pytest.mark.parametrize(
    ("kind", "more", "normalizer", "why"),
    [
        pytest.param(1, RUNS, b"", r"a piece \('▁▁'\) is exactly as likely as its parts", id="two halves"),
        pytest.param(1, THREES, b"", r"a piece \('▁▁▁'\) is exactly as likely", id="three parts, no two a piece"),
        pytest.param(
            2, [("(", 0.0, 4)], b"", r"user-defined pieces are ordinary text \('\('\)", id="behind it a space"
        ),
        pytest.param(
            2, [("\n\n", 0.0, 4)], field(3, 0) + field(4, 1), r"defined pieces.*'\\n\\n'", id="spaces are removed"
        ),
        pytest.param(2, [("▁▁", 0.0, 4)], PLAIN, "user-defined pieces.*'▁▁'", id="a piece of spaces"),
        pytest.param(1, [("lol", -1.0, 5)], b"", r"pieces that are not used \('lol'\)", id="not used"),
        pytest.param(1, [], field(5, 0), "leave spaces as they are", id="spaces are not escaped"),
    ],
)
def test_sentencepiece_models_that_would_be_counted_wrong_are_refused(
    tmp_path: Path, kind: int, more: list[tuple[str, float, int]], normalizer: bytes, why: str
) -> None:
    pieces = [*ENDS, *(piece for piece in LETTERS if piece[0] != "▁"), ("hel", -200.0, 1), *more]
    with pytest.raises(SpecError, match=f"{why}.*name a server that counts"):
        load_tokenizer(str(sentencepiece_file(tmp_path, kind, pieces, normalizer=normalizer)))


@pytest.mark.parametrize("kind", [1, 2])
def test_sentencepiece_pieces_that_mark_something_are_no_reason_to_refuse_a_model(tmp_path: Path, kind: int) -> None:
    pieces = [*ENDS, *LETTERS, ("[IMG]", 0.0, 4), ("<table>", 0.0, 4), ("<unused1>", 0.0, 5), ("hel", -250.0, 1)]
    assert load_tokenizer(str(sentencepiece_file(tmp_path, kind, pieces))).count("he") == 4, "<s> ▁ h e"


def test_sentencepiece_takes_user_defined_text_where_nothing_is_done_to_the_text_around_it(tmp_path: Path) -> None:
    pieces = [*ENDS, *LETTERS, ("(", 0.0, 4)]
    path = sentencepiece_file(tmp_path, 2, pieces, normalizer=PLAIN)
    assert load_tokenizer(str(path)).encode("h( e") == [3 + "▁helow".index(c) if c != "(" else 9 for c in "h(▁e"]


def test_sentencepiece_removes_spaces_from_the_ends_and_no_line_breaks(tmp_path: Path) -> None:
    pieces = [*ENDS, *LETTERS, ("\n", -300.0, 1)]
    tokenizer = load_tokenizer(str(sentencepiece_file(tmp_path, 2, pieces, normalizer=field(4, 1))))
    assert tokenizer.encode("  \nh  \n ") == [3, 9, 4, 3, 9]


WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "un", "##believ", "##able", ",", "中"]


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


def test_a_file_of_no_format_is_refused_with_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(b"\x7fELF")
    with pytest.raises(SpecError, match=re.escape(f"known are {', '.join(FORMATS)}")):
        load_tokenizer(str(path))


def test_a_directory_is_searched_in_the_order_in_which_servers_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDPIECES), encoding="utf-8")
    sentencepiece_file(tmp_path, 2, [*ENDS, *PIECES, *LETTERS])
    assert load_tokenizer(str(tmp_path)).count("hello") == 2, "SentencePiece: BOS and ▁hello"
    (tmp_path / "tokenizer.model").unlink()
    assert load_tokenizer(str(tmp_path)).count("hello") == 3, "WordPiece: [CLS] hello [SEP]"


def test_equal_files_have_equal_fingerprints_and_another_encoding_has_another(tmp_path: Path) -> None:
    path = tiktoken_file(tmp_path)
    prints = [load_tokenizer(f"{path}#{name}").fingerprint for name in ("qwen", "qwen", "gpt2")]
    assert prints[0] == prints[1] != prints[2]


BOS_TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"


def tekken_folder(folder: Path, template: str, **config: object) -> Path:
    rows = [{"rank": rank, "token_bytes": base64.b64encode(token).decode()} for token, rank in RANKS.items()]
    settings = {"pattern": r" ?\p{L}+|\p{N}|\s+", "default_vocab_size": 370, "default_num_special_tokens": 100}
    (folder / "tekken.json").write_text(json.dumps({"config": settings, "vocab": rows}))
    (folder / "chat_template.jinja").write_text(template)
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def chat_ids(folder: Path | str) -> list[int]:
    return load_tokenizer(str(folder)).encode_chat([{"role": "user", "content": "hello"}])


def test_a_template_gets_the_special_tokens_of_a_tekken_file(tmp_path: Path) -> None:
    template = "{{ bos_token }}[INST]{{ messages[0].content }}[/INST]{{ eos_token }}"
    assert chat_ids(tekken_folder(tmp_path, template)) == [1, 3, 100 + RANKS[b"hello"], 4, 2]


@pytest.mark.parametrize(("named", "first"), [({"bos_token": "[INST]"}, [3]), ({"bos_token": None}, [])])
def test_the_configuration_knows_better_than_the_file_which_token_begins_a_chat(
    tmp_path: Path, named: dict[str, str | None], first: list[int]
) -> None:
    assert chat_ids(tekken_folder(tmp_path, BOS_TEMPLATE, **named)) == [*first, 100 + RANKS[b"hello"]]


def test_a_special_token_that_no_file_names_is_refused_when_a_chat_is_counted(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(
        str(tekken_folder(tmp_path, "{{ bos_token }}{{ image_token }}{{ messages[0].content }}"))
    )
    assert tokenizer.count("hello") == 2, "prompts need no template"
    said = r'uses image_token, which no file names: write "image_token": .* into a tokenizer_config.json'
    with pytest.raises(SpecError, match=said):
        tokenizer.count_chat([{"role": "user", "content": "hello"}])


def test_a_special_token_of_its_own_name_comes_from_the_configuration(tmp_path: Path) -> None:
    extra = {"extra_special_tokens": {"image_token": "[IMG]"}}
    assert chat_ids(tekken_folder(tmp_path, "{{ image_token }}{{ messages[0].content }}", **extra)) == [
        10,
        100 + RANKS[b"hello"],
    ]


def test_a_template_gets_the_special_tokens_of_a_sentencepiece_file(tmp_path: Path) -> None:
    sentencepiece_file(tmp_path, 2, [*ENDS, *BYTES, *PIECES], trainer=field(35, 1))
    (tmp_path / "chat_template.jinja").write_text(BOS_TEMPLATE + "{{ eos_token }}")
    ids = chat_ids(tmp_path)
    assert (ids[0], ids[-1]) == (1, 2)


def test_a_template_gets_the_special_tokens_of_a_tiktoken_file(tmp_path: Path) -> None:
    path = tiktoken_file(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(BOS_TEMPLATE)
    assert chat_ids(f"{path}#llama3") == [270, RANKS[b"hello"]]
    with pytest.raises(SpecError, match="uses bos_token, which no file names"):
        chat_ids(f"{path}#qwen")


def test_a_template_gets_the_special_tokens_of_a_wordpiece_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n")
    (tmp_path / "chat_template.jinja").write_text("{{ cls_token }}{{ messages[0].content }}{{ sep_token }}")
    assert chat_ids(tmp_path) == [2, 4, 3]


def test_a_template_gets_the_tokens_that_a_tokenizer_json_puts_around_a_text(tmp_path: Path) -> None:
    tiny_tokenizers.save(
        tiny_tokenizers.byte_level_bpe(), tmp_path, template=BOS_TEMPLATE, bos_token=None, eos_token=None
    )
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "bos_token" not in config
    assert chat_ids(tmp_path)[0] == 0
