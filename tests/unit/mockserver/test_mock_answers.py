"""Answers to probes, and the faults that spoil them: what each fault changes, and how often."""

from __future__ import annotations

import json
import math
import re
from collections import Counter

import pytest

from mockserver import rng
from mockserver.answers import Answers, cut_json
from mockserver.dialect.frames import Block, FinishReason, ToolCall
from mockserver.documents.script import Scripted
from mockserver.faults import ArrivalFacts, fault, parse_demand, parse_rule
from mockserver.plans.plan import Plan, draw_faults
from mockserver.replies.content import Choice, garble
from promptset.probes import KINDS, Probe, Solution, make_probe, solve

SEED = 5


def words(count: int, chance: rng.Random) -> list[str]:
    return [f" {'abcdefghijklmnopqrstuvwxyz'[int(chance.random() * 26)] * 4}" for _ in range(count)]


def probe(kind: str, index: int = 0) -> Probe:
    return make_probe(
        kind, index, seed=SEED, options={name: option.default for name, option in KINDS[kind].options.items()}
    )


def solution(kind: str, index: int = 0) -> Solution:
    found = solve(probe(kind, index).messages, probe(kind, index).tools)
    assert found is not None
    return found


def spoilt(name: str, right: Solution, answers: Answers | None = None, key: int = 0) -> str:
    """The answer with this fault. Checks that the reported hit agrees with a changed answer."""
    answer = (Answers(words) if answers is None else answers).answer(right, parse_demand(name), SEED, key)
    assert answer.altered == ({name} if answer.text != right.text else set())
    return answer.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["wrong_answer", "batch_dependent"])
def test_a_wrong_answer_has_the_form_of_the_right_one(kind: str, name: str) -> None:
    for index in range(50):
        right = solution(kind, index)
        wrong = spoilt(name, right, key=index)
        assert wrong != right.text
        if kind in ("schema", "tool"):
            before, after = json.loads(right.text), json.loads(wrong)
            assert [type(value) for value in after.values()] == [type(value) for value in before.values()]
            assert after.keys() == before.keys()
            assert sum(after[key] != before[key] for key in before) == 1
        else:
            form = [re.sub(r"[A-Za-z]+", "w", re.sub(r"\d", "0", text)) for text in (right.text, wrong)]
            assert form[0] == form[1]


def test_the_same_seed_and_request_give_the_same_wrong_answer() -> None:
    right = solution("canary")
    assert spoilt("wrong_answer", right, key=7) == spoilt("wrong_answer", right, key=7)
    assert len({spoilt("wrong_answer", right, key=key) for key in range(20)}) > 5


def test_cross_talk_says_the_code_word_of_another_probe_while_others_are_in_flight() -> None:
    answers = Answers(words)
    right, other = solution("canary"), solution("tool")
    assert spoilt("cross_talk", right, answers) == right.text  # Nothing else is in flight.
    answers.begin_other(1, [" plain", " words", " of", " a", " reply"])
    assert spoilt("cross_talk", right, answers) == "plain words of"
    answers.begin(2, other)
    answers.begin_other(3, [" later"])
    assert spoilt("cross_talk", right, answers) == other.code
    assert spoilt("cross_talk", solution("arithmetic"), answers) == other.code
    mixed = json.loads(spoilt("cross_talk", solution("schema"), answers))
    assert mixed == {**json.loads(solution("schema").text), "order": other.code}
    answers.end(2)
    assert (
        spoilt("cross_talk", right, answers) == other.code
    )  # The request was answered, and no code word has come since.
    answers.end(1)
    answers.end(3)
    assert spoilt("cross_talk", right, answers) == right.text


def test_the_same_probe_twice_in_flight_is_no_cross_talk() -> None:
    answers = Answers(words)
    right = solution("canary")
    answers.begin(1, right)
    assert spoilt("cross_talk", right, answers) == right.text
    answers.begin(2, solution("canary", 1))
    answers.begin(3, right)
    assert spoilt("cross_talk", right, answers) == solution("canary", 1).text


def test_a_stale_prefix_answers_the_probe_of_the_same_kind_that_ended_before() -> None:
    answers = Answers(words)
    answers.begin(1, solution("retrieve", 1))
    assert spoilt("stale_prefix", solution("retrieve", 2), answers) == solution("retrieve", 2).text
    answers.end(1)
    assert spoilt("stale_prefix", solution("retrieve", 2), answers) == solution("retrieve", 1).text
    assert spoilt("stale_prefix", solution("canary", 2), answers) == solution("canary", 2).text


def choice(*texts: str, scripted: bool = False) -> Choice:
    plan = Plan(0, (0,) * (len(texts) - 1), len(texts))
    return Choice(plan, [*texts], (Block("text", 0, len(texts)),), FinishReason("length", None), is_document=scripted)


def test_other_replies_keep_their_number_of_tokens() -> None:
    answers, plain = Answers(words), choice(" one", " two", " three", " four")

    def disturbed(spec: str, of: Choice = plain) -> list[str]:
        changed = answers.disturb(of, parse_demand(spec), SEED, 0)
        assert changed.altered == ({spec.partition(":")[0]} if changed.texts != of.texts else set())
        return changed.texts

    assert disturbed("cross_talk") == plain.texts
    answers.begin(1, solution("canary"))
    assert disturbed("cross_talk") == [f" {solution('canary').text}", " two", " three", " four"]
    changed = disturbed("batch_dependent")
    assert len(changed) == 4
    assert sum(one != other for one, other in zip(changed, plain.texts, strict=True)) == 1
    assert disturbed("garble") == [" one", " two", "\ufffd", "\ufffd"]
    assert disturbed("garble:after=0,tokens=1") == ["\ufffd", " two", " three", " four"]
    assert disturbed("stale_prefix") == disturbed("wrong_answer") == plain.texts
    document = choice("{", '"a":1', "}", scripted=True)
    assert disturbed("cross_talk", document) == disturbed("batch_dependent", document) == document.texts
    assert plain.texts == [" one", " two", " three", " four"]


def test_tokens_without_a_text_are_not_garbled() -> None:
    texts = ["", "", "a"]
    assert not garble(texts, 0, 2)
    assert garble(texts, 1, 5)
    assert texts == ["", "", "\ufffd"]


def test_cut_json_leaves_a_part_of_the_last_block_and_claims_to_be_whole() -> None:
    call = ToolCall("call_1", "f")
    said = Scripted(
        ["", "{", "}", "", "{", '"a"', ":1", "}"], (Block("tool", 0, 3, call), Block("tool", 3, 8, call)), True
    )
    cut = cut_json(said, fault("cut_json"))
    assert (cut.texts, cut.blocks[-1].stop, cut.is_whole) == (said.texts[:6], 6, True)
    assert cut_json(said, fault("cut_json", after=0)).texts == said.texts[:5]
    assert cut_json(said, fault("cut_json", after=99)).texts == said.texts[:7]
    one = Scripted(["{}"], (Block("text", 0, 1),), True)
    assert cut_json(one, fault("cut_json")) is one


def hits(spec: str, seed: int, requests: int, in_flight: int = 0) -> int:
    rules = (parse_rule(spec),)
    return sum(
        bool(draw_faults(rules, seed, index, 1, ArrivalFacts(index, in_flight=in_flight), f"r-{index}"))
        for index in range(requests)
    )


@pytest.mark.parametrize(
    ("spec", "in_flight", "share"),
    [("cross_talk:rate=0.01", 0, 0.01), ("wrong_answer:crowd=0.001", 20, 0.02), ("garble:crowd=0.001", 0, 0.0)],
)
def test_faults_are_planted_as_often_as_declared(spec: str, in_flight: int, share: float) -> None:
    """Over 200 seeds: the mean and the variance of a binomial distribution. If the rate is zero, a single hit is too
    many."""
    seeds, requests = 200 if share else 100, 100
    counts = [hits(spec, seed, requests, in_flight) for seed in range(seeds)]
    deviation = math.sqrt(seeds * requests * share * (1 - share))
    assert abs(sum(counts) - seeds * requests * share) <= 3.5 * deviation
    if share:
        mean, variance = requests * share, requests * share * (1 - share)
        spread = sum((count - mean) ** 2 for count in counts) / seeds
        # The variance of a sample variance of n draws is about 2 variance^2 / n, and more for a small mean.
        assert spread == pytest.approx(variance, rel=0.35)
        assert Counter(counts)[0] / seeds == pytest.approx((1 - share) ** requests, abs=0.07)


@pytest.mark.parametrize(("name", "same"), [("wrong_answer", False), ("garble", False), ("429", True), ("stall", True)])
def test_only_answers_are_drawn_anew_in_each_run(name: str, same: bool) -> None:
    def hit(run: str) -> list[int]:
        rules, indexes = (parse_rule(f"{name}:rate=0.2"),), range(500)
        return [i for i in indexes if draw_faults(rules, SEED, i, 1, ArrivalFacts(i), f"{run}-{i}")]

    first, second = hit("a"), hit("b")
    assert first == hit("a")
    assert (first == second) is same
    if not same:
        # Both hit 4% of 500.
        assert 6 <= len({*first} & {*second}) <= 40


def test_a_crowd_is_a_share_for_each_other_request_and_at_most_one() -> None:
    assert hits("wrong_answer:crowd=0.1", 1, 50, in_flight=10) == 50
    assert hits("wrong_answer:crowd=0.1", 1, 50, in_flight=100) == 50
    assert 0 < hits("wrong_answer:crowd=0.1", 1, 50, in_flight=5) < 50


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("wrong_answer:crowd=0.1,rate=0.1", "crowd and rate cannot be combined"),
        ("wrong_answer:crowd=2", "write a share from 0 to 1"),
        ("slow_accept:crowd=0.1", "crowd counts requests in flight, and slow_accept hits connections"),
    ],
)
def test_a_wrong_crowd_is_refused(spec: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_rule(spec)


def changed_texts(text: str, draws: int = 400) -> set[str]:
    """All wrong answers to a probe whose right answer is this text."""
    return {spoilt("wrong_answer", Solution("arithmetic", text), key=key) for key in range(draws)}


def test_a_wrong_number_differs_in_any_one_digit_and_never_begins_with_zero() -> None:
    assert changed_texts("5") == {*"12346789"}
    assert changed_texts("47") == {*(f"{n}7" for n in (1, 2, 3, 5, 6, 7, 8, 9)), *(f"4{n}" for n in (*range(7), 8, 9))}


def test_a_wrong_answer_changes_any_one_of_its_words_and_keeps_capitals() -> None:
    pairs = {tuple(text.split(" - ")) for text in changed_texts("AAAA - aaaa")}
    assert {first for first, second in pairs if second != "aaaa"} == {"AAAA"}
    others = {first for first, second in pairs if second == "aaaa"}
    assert others <= {letter * 4 for letter in "BCDEFGHIJKLMNOPQRSTUVWXYZ"}
    assert len(others) > 20
    assert spoilt("wrong_answer", Solution("arithmetic", "...")) == "..."


def test_a_wrong_object_has_another_value_of_the_same_type_at_any_one_key() -> None:
    right = {"a": 7, "b": True, "c": "aaaa"}
    wrong = [json.loads(text) for text in changed_texts(json.dumps(right))]
    assert {row["a"] for row in wrong} == {7, *range(8, 17)}
    assert {row["b"] for row in wrong} == {True, False}
    assert all(sum(row[key] != right[key] for key in right) == 1 for row in wrong)
    assert len({row["c"] for row in wrong}) > 20


def test_a_token_that_depends_on_the_batch_may_be_any_after_the_reasoning() -> None:
    texts = [" one", " two", "", " four"]
    plan = Plan(0, (0, 0, 0), 4, reasoning_tokens=1)
    plain = Choice(plan, texts, (Block("reasoning", 0, 1), Block("text", 1, 4)), FinishReason("length", None))
    places = set()
    for key in range(60):
        changed = Answers(words).disturb(plain, parse_demand("batch_dependent"), SEED, key).texts
        places.add(tuple(n for n, (old, new) in enumerate(zip(texts, changed, strict=True)) if old != new))
    assert places == {(1,), (3,), ()}  # The third token has no text.


def test_a_text_is_garbled_in_its_middle_after_the_reasoning() -> None:
    texts = [" a", " b", " c", " d", " e", " f", " g", " h"]
    plan = Plan(0, (0,) * 7, 8, reasoning_tokens=2)
    plain = Choice(plan, texts, (Block("reasoning", 0, 2), Block("text", 2, 8)), FinishReason("length", None))
    for spec, places in (("garble", (5, 6)), ("garble:after=0,tokens=1", (2,)), ("garble:after=9,tokens=1", (7,))):
        changed = Answers(words).disturb(plain, parse_demand(spec), SEED, 0).texts
        assert tuple(n for n, text in enumerate(changed) if text == "\ufffd") == places


def test_faults_of_the_answer_leave_a_reply_of_reasoning_alone() -> None:
    plain = Choice(Plan(0, (0,), 2, reasoning_tokens=2), [" one", " two"], (Block("reasoning", 0, 2),),
                   FinishReason("length", None))  # fmt: skip
    assert Answers(words).disturb(plain, parse_demand("garble;batch_dependent"), SEED, 0) == plain


def test_another_word_has_letters_alone() -> None:
    def odd_words(count: int, chance: rng.Random) -> list[str]:
        return [" 12", " a-b", " AAAA", " good", " other"][:count]

    assert spoilt("wrong_answer", Solution("arithmetic", "aaaa"), Answers(odd_words)) == "good"
    assert spoilt("wrong_answer", Solution("arithmetic", "AAAA"), Answers(odd_words)) == "GOOD"


@pytest.mark.parametrize("before", [0, 1, 2])
def test_only_the_last_block_of_json_is_cut(before: int) -> None:
    call = ToolCall("call_1", "f")
    blocks = [Block("tool", 4 * n, 4 * n + 4, call) for n in range(before + 1)]
    said = Scripted(["", "{", '"a":1', "}"] * (before + 1), tuple(blocks), True)
    cut = cut_json(said, fault("cut_json"))
    stop = 4 * before + 2
    assert (cut.texts, cut.blocks) == (said.texts[:stop], (*blocks[:-1], blocks[-1]._replace(stop=stop)))
