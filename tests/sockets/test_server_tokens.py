"""Counting with a server's own /tokenize: the mock, in vLLM's dialect, and a server in llama.cpp's."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.exact import exact_messages, exact_prompt
from promptset.kinds import Style
from promptset.rng import stream
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.literal_server import closed_port
from tests.support.mock_process import mock_process
from tests.support.ready_made import run_to_end
from tests.support.record_rows import record_rows

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that adds a BOS to prompts, while the template adds one, too."""
    return tiny_tokenizers.save(tiny_tokenizers.sentencepiece_bpe(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def mock(folder: Path) -> Iterator[str]:
    with mock_process("--tokenizer", str(folder)) as running:
        yield running.url


class LlamaCpp(BaseHTTPRequestHandler):
    """A server like llama.cpp's: it has its own wording, and ignores unknown fields."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One write for head and body: with Nagle's algorithm, a second one would wait.
    key: str | None = None
    hang_up = 0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if LlamaCpp.hang_up:
            LlamaCpp.hang_up -= 1
            self.close_connection = True
            return
        if self.key is not None and self.headers["authorization"] != f"Bearer {self.key}":
            self.answer(401, {"error": {"message": "Invalid API Key"}})
        elif self.path == "/tokenize":
            text = asked.get("content", "")
            if not asked.get("parse_special", True):
                text = text.replace("<", "< ")  # What was a special token is plain text.
            self.answer(200, {"tokens": load_tokenizer().encode(text, asked.get("add_special", False))})
        elif self.path == "/detokenize":
            self.answer(200, {"content": load_tokenizer().decode(asked["tokens"])})
        elif self.path == "/apply-template":
            self.answer(200, {"prompt": load_tokenizer().render_chat(asked["messages"], asked.get("tools"))})
        else:
            self.answer(404, {"error": {"message": "File Not Found"}})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), LlamaCpp)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/chat/completions"])
def test_the_mock_counts_as_its_tokenizer_does(mock: str, folder: Path, ending: str) -> None:
    asked, local = load_tokenizer(mock + ending), load_tokenizer(str(folder))
    assert asked.name == mock
    assert asked.special_tokens_added == local.special_tokens_added == 1
    texts = ["", "the time", "The people.\n\n<s>", "中国"]
    assert asked.count_batch(texts) == local.count_batch(texts)
    assert asked.count_plain(texts) == local.count_plain(texts)
    chat = [{"role": "user", "content": "the time"}]
    assert asked.count_chats([chat, [*chat, *chat]]) == local.count_chats([chat, [*chat, *chat]])
    assert asked.encode_chat(chat) == local.encode_chat(chat)
    assert asked.encode("the time", add_special_tokens=True) == local.encode("the time", add_special_tokens=True)


@pytest.mark.parametrize("kind", ["words", "code", "chinese"])
def test_prompts_counted_by_the_mock_are_exact(mock: str, folder: Path, kind: str) -> None:
    asked, local = load_tokenizer(mock), load_tokenizer(str(folder))
    for n in (2, 17, 300):
        assert local.count(exact_prompt(asked, n, stream(n), style=Style(kind), number=n)) == n
    assert local.count_chat(exact_messages(asked, 200, stream(1), "Be brief.", style=Style(kind))) == 200


def test_a_run_asks_its_target(mock: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "run", "--url", mock, "--tokenizer", "server", "--requests", "12"]
    command += ["--input-tokens", "uniform:20..90", "--output-tokens", "4", "--concurrency", "4", "--text", "english"]
    ran = run_to_end([*command, "--out", str(tmp_path / "run")])
    assert "Traceback" not in ran.stderr
    records = record_rows(tmp_path / "run" / "requests.jsonl")
    assert len({record["input_tokens_asked"] for record in records}) > 5
    assert [record["input_tokens"] for record in records] == [record["input_tokens_asked"] for record in records]
    # The target's own tokenizer would prove nothing about its counts.
    assert {record["output_tokens_counted"] for record in records} == {None}


def test_llama_cpp_is_asked_in_its_own_words(llama_cpp: str) -> None:
    asked, local = load_tokenizer(llama_cpp), load_tokenizer()
    assert asked.count("the time") == local.count("the time")
    assert asked.decode(asked.encode("the time")) == "the time"
    chat = [{"role": "user", "content": "the time"}]
    assert asked.render_chat(chat) == local.render_chat(chat)
    assert local.count(exact_prompt(asked, 150, stream(1), style=Style("json"))) == 150
    assert local.count_chat(exact_messages(asked, 150, stream(1), "Be brief.")) == 150


def test_the_key_is_sent_and_a_refusal_is_told(llama_cpp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaCpp, "key", "secret")
    with pytest.raises(SpecError, match=r"/tokenize does not answer like vLLM or llama.cpp \(it answered 401"):
        load_tokenizer(llama_cpp)
    assert load_tokenizer("server", server=llama_cpp, api_key="secret").count("the time") == 2
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert load_tokenizer(llama_cpp).count("the time") == 2


def test_neither_the_proxy_of_the_environment_nor_a_password_in_the_name(
    llama_cpp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        asked = load_tokenizer(llama_cpp.replace("http://", "http://me:hunter2@"))
        assert (asked.count("the time"), asked.name) == (2, llama_cpp)


def test_a_connection_that_the_server_closed_is_made_again_once(
    llama_cpp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = load_tokenizer(llama_cpp)
    monkeypatch.setattr(LlamaCpp, "hang_up", 1)
    assert len(asked.encode("the time")) == 2
    monkeypatch.setattr(LlamaCpp, "hang_up", 2)
    with pytest.raises(SpecError, match="/tokenize does not answer"):
        asked.encode("the time")


def test_the_vocabulary_is_not_told(llama_cpp: str) -> None:
    with pytest.raises(SpecError, match="does not return its vocabulary: name the tokenizer's file"):
        exact_prompt(load_tokenizer(llama_cpp), 50, stream(1), style=Style("random"))


def test_a_server_that_is_not_there_is_said() -> None:
    with (
        closed_port() as url,
        pytest.raises(SpecError, match=re.escape(f"{url}/tokenize does not answer (ConnectError")),
    ):
        load_tokenizer(url)
    with pytest.raises(SpecError, match="no server is given: write its address"):
        load_tokenizer("server")
