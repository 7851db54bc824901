"""Refusals of the command line's settings, as a page of the console shows them."""

from __future__ import annotations

import pytest

from bench.config import resolve
from bench.console.form_words import plain
from bench.console.language import LANGUAGE, shown
from bench.console.refusals import phrase_of
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("concurrency", "abc", "必须为整数（输入：'abc'）"),
        ("rate", "x", "必须为数字（输入：'x'）"),
        ("requests", "-3", "至少为 1（输入：'-3'）"),
        ("duration", "0", "必须大于 0"),
        ("duration", "abc", "'abc' 不是时间：请填秒数（30），或带单位的数（500ms、30s、5m、1h）"),
        ("input_tokens", "abc", "'abc' 不是数字（例如 128）"),
        ("url", "foo", "'foo' 不以 http:// 或 https:// 开头；例如 http://foo"),
        ("url", "http:/x", "'http:/x' 没有主机名；例如 http://x"),
        ("slo", ["fast"], '"fast"：不是 指标:统计量<限值 的形式，例如 ttft:p99<500ms'),
    ],
)
def test_a_common_refusal_is_shown_in_the_language_of_the_page(name: str, value: object, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", name: value})
    (problem,) = refused.value.problems
    english = plain(problem, name)
    assert phrase_of(english) == english
    before = LANGUAGE.set("zh-CN")
    try:
        assert shown(phrase_of(english)) == said
        assert shown(phrase_of("something else")) == "something else"
    finally:
        LANGUAGE.reset(before)
