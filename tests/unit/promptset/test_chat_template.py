"""Contents that are lists of parts, as from OpenAI's clients, in both kinds of template."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptset import own_template
from promptset.chat_template import ChatTemplate, _why, special_tokens_of
from promptset.errors import SpecError
from promptset.tokenizer import LocalTokenizer
from promptset.tokens import _load_default, load_tokenizer

PLAIN = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}"
LOOPS = {
    "by key": "{% for m in messages %}{% for p in m['content'] %}[{{ p.text }}]{% endfor %}{% endfor %}",
    "by attribute": "{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}",
    "by a name": "{% for m in messages %}{% set content = m.content %}{% for p in content %}[{{ p.text }}]{% endfor %}"
    "{% endfor %}",
    "filtered": "{% for m in messages %}{% for p in m.content | list %}[{{ p.text }}]{% endfor %}{% endfor %}",
}


def _parts(*texts: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]


def test_a_template_that_knows_only_text_gets_the_parts_as_lines() -> None:
    template = ChatTemplate(PLAIN, {}, "here")
    assert template.render(_parts("one", "two")) == "<user>one\ntwo"
    assert template.render([{"role": "user", "content": "one"}]) == "<user>one"


@pytest.mark.parametrize("name", LOOPS)
def test_a_template_that_loops_over_parts_gets_them(name: str) -> None:
    assert ChatTemplate(LOOPS[name], {}, "here").render(_parts("one", "two")) == "[one][two]"


@pytest.mark.parametrize("name", LOOPS)
def test_a_template_that_knows_only_parts_gets_a_text_as_one(name: str) -> None:
    assert ChatTemplate(LOOPS[name], {}, "here").render([{"role": "user", "content": "one"}]) == "[one]"


def test_a_template_that_knows_both_gets_a_text_as_it_is() -> None:
    both = (
        "{% if messages[0].content is string %}text{{ messages[0].content }}{% else %}"
        + LOOPS["by key"]
        + "{% endif %}"
    )
    assert ChatTemplate(both, {}, "here").render([{"role": "user", "content": "one"}]) == "textone"
    assert ChatTemplate(both, {}, "here").render(_parts("one")) == "[one]"


def test_a_picture_is_refused_where_only_text_is_known() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(SpecError, match="refuses these messages"):
        ChatTemplate(PLAIN, {}, "here").render([{"role": "user", "content": [picture]}])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"id": "1", "function": {"arguments": '{"a": 1}'}}, {"id": "1", "function": {"arguments": {"a": 1}}}),
        ({"function": {"name": "f", "arguments": ""}}, {"function": {"name": "f", "arguments": {}}}),
        ({"function": {"arguments": "{"}}, {"function": {"arguments": "{"}}),
        ({"function": {"arguments": {}}}, {"function": {"arguments": {}}}),
        ({"function": "f"}, {"function": "f"}),
        ({}, {}),
        ("f", "f"),
    ],
)
def test_a_template_gets_the_arguments_of_a_call_as_an_object(call: object, expected: object) -> None:
    template = ChatTemplate("{{ messages[0].tool_calls | tojson }}", {}, "here")
    assert json.loads(template.render([{"role": "assistant", "content": "", "tool_calls": [call]}])) == [expected]


def test_the_embedded_tokenizer_counts_one_part_as_the_text_it_is() -> None:
    tokenizer = load_tokenizer(None)
    assert tokenizer.render_chat(_parts("hello there")) == tokenizer.render_chat(
        [{"role": "user", "content": "hello there"}]
    )


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", {"bos_token", "eos_token"}),
        ("{{ messages[0]['content'] }}", set()),
        ("{% if bos_token is defined %}{{ bos_token }}{% endif %}{{ messages }}", set()),
        ("{% set pad_token = '<p>' %}{{ pad_token }}{{ messages }}", set()),
        ("{{ '<i>' + image_token }}", {"image_token"}),
        ("{% generation %}{{ bos_token }}{% endgeneration %}", {"bos_token"}),
        ("{% broken", set()),
    ],
)
def test_the_special_tokens_that_a_template_needs_are_those_that_it_reads_unasked(
    source: str, needed: set[str]
) -> None:
    assert special_tokens_of(source) == needed


ROLES = st.sampled_from(["user", "assistant", "system", "developer", "tool", "robot"])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES, "content": st.text() | st.none()},
        optional={"name": st.text(max_size=2), "tool_calls": st.just([])},
    ),
    max_size=4,
)


@given(MESSAGES, st.booleans(), st.sampled_from([{}, {"bos_token": "<s>"}, {"bos_token": "<s>", "eos_token": "</s>"}]))
def test_the_embedded_template_in_python_says_what_it_says_in_jinja(
    messages: list[dict[str, Any]], opens: bool, special: dict[str, str]
) -> None:
    jinja = ChatTemplate(own_template.source(), special, "here")
    plain = all(m.keys() == {"role", "content"} and isinstance(m["content"], str) for m in messages)
    plain = plain and all(m["role"] not in ("tool", "robot") for m in messages)
    own = own_template.render(messages, special, opens)
    assert (own is not None) is plain
    assert own is None or own == jinja.render(messages, None, opens)


def test_the_embedded_template_names_the_special_tokens_that_it_reads() -> None:
    assert special_tokens_of(own_template.source()) == own_template.NEEDS


def test_the_embedded_tokenizer_renders_without_jinja_what_it_can(default_tokenizer: LocalTokenizer) -> None:
    tokenizer = default_tokenizer
    assert tokenizer.render_chat([{"role": "user", "content": "hello"}]).endswith("<｜User｜>hello<｜Assistant｜>")
    assert "_chat" not in vars(tokenizer)
    with pytest.raises(SpecError, match="refuses"):
        tokenizer.render_chat([{"role": "robot", "content": "hello"}])
    assert "_chat" in vars(tokenizer)


@pytest.fixture
def default_tokenizer() -> LocalTokenizer:
    """A new tokenizer, as in a new process. Other tests keep theirs."""
    found = _load_default.__wrapped__()
    assert isinstance(found, LocalTokenizer)
    return found


@pytest.mark.parametrize(
    ("source", "why"),
    [
        pytest.param("{% for i in range(999999999) %}x{% endfor %}", "Range too big", id="range"),
        pytest.param("{{ 1 / 0 }}", "division by zero", id="division"),
        pytest.param("{{ messages[7].content }}", "has no element", id="no such message"),
        pytest.param("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion", id="a macro that calls itself"),
        pytest.param("{{ ['a', 'b'] | random }}", "it draws by chance", id="random"),
        pytest.param("{{ lipsum(n=1) }}", "it draws by chance", id="lipsum"),
        pytest.param("{{ 'x'.encode('rot13') }}", "rot13", id="what a method raises"),
    ],
)
def test_what_the_code_of_a_template_raises_is_a_sentence(source: str, why: str) -> None:
    with pytest.raises(SpecError, match=f"the chat template of here refuses these messages: .*{why}"):
        ChatTemplate(source, {}, "here").render([{"role": "user", "content": "hello"}])


def test_blocks_that_python_cannot_nest_are_a_sentence() -> None:
    deep = 30
    source = "{% for a in b %}" * deep + "{% endfor %}" * deep
    with pytest.raises(SpecError, match=r"the chat template of here cannot be compiled: .*nested"):
        ChatTemplate(source, {}, "here")


def test_an_error_of_a_template_is_told_on_one_line_and_by_its_kind_without_words() -> None:
    assert [_why(error) for error in (ValueError("a\n  b"), ValueError(" \n"), KeyError())] == [
        "a b",
        "ValueError",
        "KeyError",
    ]


def test_a_template_that_refuses_a_text_gets_it_as_one_part() -> None:
    source = (
        "{% for m in messages %}{% if m.content is string %}{{ raise_exception('parts only') }}{% endif %}"
        "{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}"
    )
    assert ChatTemplate(source, {}, "here").render([{"role": "user", "content": "one"}]) == "[one]"


@pytest.mark.parametrize("over", ["m['tool_calls'] or []", "m.tool_calls or []", "calls", "m[0] or []"])
def test_a_template_that_loops_over_something_else_gets_a_text(over: str) -> None:
    source = (
        "{% set calls = [] %}{% for m in messages %}{{ m['content'] }}"
        + f"{{% for c in {over} %}}{{{{ c }}}}{{% endfor %}}{{% endfor %}}"
    )
    assert ChatTemplate(source, {}, "here").render(_parts("one", "two")) == "one\ntwo"
