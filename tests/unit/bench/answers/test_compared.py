"""Answers without load against answers under load: which changes are shown, which are not, and how often chance alone
raises an alarm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.answers.compared import Rules, ThreePhases, compare
from bench.answers.cross_talk import cross_talk
from bench.answers.examples import examples, question_of
from bench.answers.probe_set import KeptAnswer, KeptAnswers
from bench.results.quality import QualityMeasure
from promptset.answers import Answer
from promptset.probes import Probe, make_probes, parse_probes
from tests.support.made_answers import Change, answered


def _by_name(answers: ThreePhases, rules: Rules | None = None) -> dict[str, QualityMeasure]:
    compared = compare(answers) if rules is None else compare(answers, rules)
    return {measure.name: measure for measure in compared.measures}


def _set(spec: str) -> list[Probe]:
    return make_probes(parse_probes(spec), seed=7)


def _three(probes: Sequence[Probe], change: Change | None, times: int = 1) -> ThreePhases:
    return ThreePhases(probes, answered(probes, 2), answered(probes, times, change), answered(probes))


def test_answers_that_stay_are_within_the_margin_once_there_are_enough() -> None:
    few, many = _by_name(_three(_set("60"), None)), _by_name(_three(_set("480"), None))
    assert {measure.decision for measure in few.values()} == {"not shown"}
    assert few["right"].probes_to_show == pytest.approx(381, abs=1)
    assert many["right"].decision == many["same_text"].decision == "within the margin"
    # 80 probes with a schema are too few to exclude a fall of 1%.
    assert many["valid_json"].decision == "not shown"
    assert (many["right"].p, many["right"].p_corrected, many["right"].fall) == (None, None, 0)


def test_one_disagreement_among_twenty_shows_nothing_and_says_so() -> None:
    probes = _set("canary=20")
    found = _by_name(_three(probes, lambda probe, _: "no idea" if probe is probes[3] else ""))
    right = found["right"]
    assert (right.decision, right.alone.bad, right.loaded.bad, right.loaded.answers) == ("not shown", 0, 1, 20)
    assert right.p == pytest.approx(1 / 4)
    assert right.probes_to_show is not None
    assert 100 < right.probes_to_show < 1000


def test_many_wrong_answers_under_load_are_a_change_with_its_size() -> None:
    probes = _set("arithmetic=100")
    found = _by_name(_three(probes, lambda probe, _: "12345678" if probes.index(probe) % 5 == 0 else ""))
    right = found["right"]
    assert (right.decision, right.fall, right.is_fault) == ("changed", pytest.approx(0.2), True)
    assert right.interval[0] < 0.2 < right.interval[1]
    assert right.interval[0] > 0.1
    assert right.loaded.interval[0] < 0.8 < right.loaded.interval[1]


def test_texts_that_differ_with_right_answers_change_the_text_alone() -> None:
    probes = _set("canary=60")
    found = _by_name(_three(probes, lambda probe, _: f"The code: {probe.answer}"))
    assert (found["same_text"].decision, found["same_text"].is_fault) == ("changed", False)
    assert found["right"].decision == "not shown"
    assert compare(_three(probes, lambda probe, _: f"The code: {probe.answer}")).difference.least == 0


def test_a_server_that_varies_without_load_too_is_no_alarm() -> None:
    probes, rng = _set("canary=80"), random.Random(5)

    def now_and_then(probe: Probe, _: int) -> str:
        return f"It is {probe.answer}." if rng.random() < 0.3 else ""

    phases = [answered(probes, times, now_and_then) for times in (3, 2, 1)]
    same = _by_name(ThreePhases(probes, *phases))["same_text"]
    assert same.decision == "not shown"
    assert same.alone.bad > 20
    assert same.loaded.bad > 20


def test_a_server_that_changed_for_good_is_not_blamed_on_load() -> None:
    probes = _set("arithmetic=100")
    wrong = answered(probes, 1, lambda probe, _: "12345678")
    right = _by_name(ThreePhases(probes, answered(probes, 2), wrong, wrong))["right"]
    assert (right.decision, right.blamed_on_time, right.probes_to_show) == ("not shown", True, None)


@pytest.mark.parametrize(
    ("alone", "loaded", "back", "decision", "longer"),
    [
        (0, 0, 100, "not shown", 0),  # The change came after the load.
        (100, 100, 0, "not shown", 0),
        (0, 80, 100, "not shown", 0),  # Every phase is worse than the one before.
        (100, 20, 0, "not shown", 0),
        (0, 46, 40, "not shown", 6),  # Six wrong answers more than afterwards: a mid-p of 1/64, too weak for any test.
        (0, 100, 50, "changed", 50),
        (50, 0, 100, "changed", 0),  # The answers improved.
    ],
)
def test_load_is_blamed_only_for_what_lies_beyond_the_answers_before_and_after(
    alone: int, loaded: int, back: int, decision: str, longer: int
) -> None:
    probes = _set("arithmetic=100")

    def first_wrong(most: int) -> Change:
        return lambda probe, _: "0" * 99 if probes.index(probe) < most else ""

    phases = [answered(probes, times, first_wrong(most)) for times, most in ((2, alone), (1, loaded), (1, back))]
    compared = compare(ThreePhases(probes, *phases))
    right = {row.name: row for row in compared.measures}["right"]
    assert (right.decision, right.blamed_on_time) == (decision, decision == "not shown")
    assert compared.length is not None
    assert compared.length.longer == longer


def test_a_server_that_is_wrong_under_load_alone_is_blamed_on_load() -> None:
    probes = _set("arithmetic=100")
    wrong = answered(probes, 1, lambda probe, _: "12345678")
    assert _by_name(ThreePhases(probes, answered(probes, 2), wrong, answered(probes)))["right"].decision == "changed"


@pytest.mark.parametrize(
    ("spec", "measure", "text"),
    [
        ("schema=60", "valid_json", '{"order": "A'),
        ("tool=60", "valid_call", "I would open a ticket."),
        ("canary=60", "readable", "MARB\ufffd-40281"),
        ("canary=60", "no_loop", "so on and so on and " * 20),
        ("canary=60", "not_empty", "  "),
    ],
)
def test_each_form_of_a_broken_answer_is_found(spec: str, measure: str, text: str) -> None:
    probes = _set(spec)
    found = _by_name(_three(probes, lambda probe, _: text if probes.index(probe) % 3 == 0 else ""))
    assert found[measure].decision == "changed"
    assert found[measure].loaded.bad == 20


def test_answers_cut_at_the_limit_end_differently() -> None:
    probes = _set("canary=60")
    cut = KeptAnswers(
        [KeptAnswer("x", place, Answer(content=p.answer), limited=True) for place, p in enumerate(probes)]
    )
    found = _by_name(ThreePhases(probes, answered(probes, 2), cut, answered(probes)))
    assert (found["same_end"].decision, found["right"].decision) == ("changed", "not shown")


def test_probes_that_were_not_asked_under_load_count_nowhere() -> None:
    probes = _set("canary=60")
    some = KeptAnswers(answered(probes).answers[:25])
    right = _by_name(ThreePhases(probes, answered(probes, 2), some, answered(probes)))["right"]
    assert (right.probes, right.alone.answers, right.loaded.answers) == (25, 75, 25)


def test_longer_answers_are_told() -> None:
    probes = _set("canary=40")
    length = compare(_three(probes, lambda probe, _: f"{probe.answer} and more")).length
    assert length is not None
    assert (length.longer, length.shorter) == (40, 0)
    assert length.p_corrected < 1e-6


def test_answers_to_probes_without_an_answer_alone_are_compared_with_nothing() -> None:
    probes = _set("canary=3")
    tokens = (("a", -1.0),)

    def kept(request: str, place: int | None, text: str) -> KeptAnswer:
        return KeptAnswer(request, place, Answer(content=text, tokens=tokens))

    alone = KeptAnswers([kept("a0", 0, "abcd"), kept("a1", 1, "ab"), kept("a2", None, "long ordinary")])
    loaded = KeptAnswers([
        kept("l0", 0, "abXd!"), kept("l1", 1, "ab"), kept("l2", 2, "other"), kept("l3", None, "ordinary"),
        kept("l4", 0, "a"), kept("l5", 1, "X"),
    ])  # fmt: skip
    found = compare(ThreePhases(probes, alone, loaded, KeptAnswers([kept("b2", 2, "abcdef")])))
    # The answers differ first at positions 2, 1 and 0.
    assert (found.difference.answers, found.difference.differing) == (4, 3)
    assert (found.difference.least, found.difference.median) == (0, 1)
    # One token of each of the four. Without load there are only the references.
    assert found.drift is not None
    assert (found.drift.tokens, found.drift.most, found.drift.alone_median, found.drift.alone_most) == (
        4,
        0,
        None,
        None,
    )
    # The answers to probes are abcd against abXd!, and ab against ab. The lengths cover all answers to probes.
    assert found.length is not None
    assert (found.length.longer, found.length.shorter, found.length.p) == (1, 0, 0.5)
    assert (found.length.alone, found.length.loaded) == (pytest.approx(4.0), pytest.approx((5 + 2 + 5 + 1 + 1) / 5))
    (kind,) = found.kinds
    assert (kind.kind, kind.probes, kind.alone, kind.loaded, kind.loaded_answers) == ("canary", 3, 0, 0, 5)
    names = {row.name: row for row in found.measures}
    # Only the second phase without load answers the third probe.
    assert names["not_empty"].probes == 3
    assert (names["not_empty"].alone.answers, names["not_empty"].loaded.answers) == (3, 5)


def test_nothing_under_load_is_nothing_to_compare() -> None:
    probes = _set("canary=3")
    none = compare(ThreePhases(probes, answered(probes), KeptAnswers(), answered(probes)))
    assert (none.measures, none.length, none.drift) == ([], None, None)
    assert (none.difference.answers, none.difference.least, none.difference.median) == (0, None, None)
    assert (none.kinds[0].alone, none.kinds[0].loaded) == (1, None)


def test_shares_and_pairs_are_means_over_probes() -> None:
    probes = _set("canary=4")

    def kept(*texts: Sequence[str]) -> KeptAnswers:
        return KeptAnswers([
            KeptAnswer(f"{place}-{k}", place, Answer(content=probes[place].answer if text == "y" else "no"))
            for place, given in enumerate(texts)
            for k, text in enumerate(given)
        ])  # fmt: skip

    right = _by_name(ThreePhases(probes, kept("yn", "y", "yy"), kept("y", "nnny", "n"), kept("nn", "y", "", "y")))[
        "right"
    ]
    # Without load: a quarter, one, one; under load: one, a quarter, none. The fourth probe was not sent under load.
    assert (right.probes, right.alone.answers, right.alone.bad) == (3, 8, 3)
    assert right.alone.share == pytest.approx((0.25 + 1 + 1) / 3)
    assert (right.loaded.answers, right.loaded.bad, right.loaded.share) == (6, 4, pytest.approx((1 + 0.25) / 3))
    assert right.fall == pytest.approx(1 / 3)


def test_every_fault_is_a_fault_and_what_compares_is_none() -> None:
    faults = {row.name: row.is_fault for row in compare(_three(_set("40"), None)).measures}
    assert faults == {
        "right": True, "valid_json": True, "valid_call": True, "readable": True, "no_loop": True, "not_empty": True,
        "same_text": False, "same_end": False,
    }  # fmt: skip


def _alarms(comparisons: int) -> int:
    """How many comparisons report a change, for a server that makes every kind of error as often under load as without."""
    probes, rng, alarms = _set("30"), random.Random(1), 0
    for _ in range(comparisons):
        # Each probe has its own error rate: a few nearly always fail, most hardly ever.
        rates = {probe.probe_id: rng.random() ** 3 for probe in probes}

        def broken(probe: Probe, _: int, rates: dict[str, float] = rates) -> str:
            if rng.random() >= rates[probe.probe_id]:
                return ""
            return rng.choice(["wrong", "a" * 80, "br\ufffdken", '{"order": ', " "])

        phases = [answered(probes, times, broken) for times in (2, 3, 1)]
        alarms += any(measure.decision == "changed" for measure in compare(ThreePhases(probes, *phases)).measures)
    return alarms


def test_chance_alone_raises_few_alarms() -> None:
    assert _alarms(60) <= 1


@pytest.mark.long
def test_chance_alone_raises_an_alarm_in_at_most_two_percent() -> None:
    assert _alarms(500) <= 10


def test_one_foreign_code_is_told_whatever_the_statistics_say() -> None:
    probes = _set("canary=50")
    mixed = answered(probes, 1, lambda probe, _: f"It is {probes[9].code}." if probe is probes[4] else "")
    talk = cross_talk(probes, {"alone": answered(probes), "loaded": mixed, "back": answered(probes)})
    assert talk is not None
    assert (talk.found, talk.found_alone, talk.answers, talk.codes, talk.excluded) == (1, 0, 50, 50, None)
    (first,) = talk.first
    assert (first.probe, first.owner, first.code) == ("canary-4", "canary-9", probes[9].code)
    assert talk.interval[0] > 0


def test_a_code_in_an_ordinary_answer_is_cross_talk_too() -> None:
    probes = _set("canary=5")
    stray = KeptAnswer("other", None, Answer(content=f"Dear {probes[0].code}"))
    loaded = KeptAnswers([*answered(probes).answers, stray])
    talk = cross_talk(probes, {"alone": answered(probes), "loaded": loaded, "back": answered(probes)})
    assert talk is not None
    assert (talk.found, talk.first[0].probe, talk.answers) == (1, None, 6)


def test_what_is_shown_of_long_answers_and_of_many_foreign_codes_is_limited() -> None:
    probes = _set("canary=30")
    talk = cross_talk(probes, {"loaded": answered(probes, 1, lambda probe, _: f"{probes[0].code} " + "x" * 3_000)})
    assert talk is not None
    assert (talk.found, len(talk.first), len(talk.first[0].answer)) == (29, 20, 2_000)
    (example, *_) = examples(_three(probes, lambda *_: "y" * 3_000))
    assert (len(example.loaded), example.wanted) == (2_000, example.alone)
    (example, *_) = examples(
        ThreePhases(probes, answered(probes, 1, lambda *_: "x" * 3_000), answered(probes), answered(probes))
    )
    assert (example.alone, example.loaded) == ("x" * 2_000, example.wanted)
    assert question_of(replace(probes[0], messages=({"content": "a" * 300 + "b" * 300},))) == "b" * 300


def test_none_seen_says_which_rate_is_excluded() -> None:
    probes = _set("canary=100")
    clean = {phase: answered(probes) for phase in ("alone", "loaded", "back")}
    talk = cross_talk(probes, clean)
    assert talk is not None
    assert (talk.found, talk.excluded) == (0, pytest.approx(0.02951, abs=1e-5))
    assert cross_talk(_set("arithmetic=5"), clean) is None


def test_answers_without_a_text_exclude_no_cross_talk() -> None:
    probes = _set("canary=100")
    talk = cross_talk(
        probes, {"loaded": answered(probes, 1, lambda probe, _: " " if probes.index(probe) >= 40 else "")}
    )
    assert talk is not None
    assert (talk.answers, talk.excluded) == (40, pytest.approx(1 - 0.05 ** (1 / 40)))
    talk = cross_talk(probes, {"loaded": answered(probes, 1, lambda probe, _: " ")})
    assert talk is not None
    assert (talk.answers, talk.found, talk.excluded, talk.interval) == (0, 0, None, (0.0, 1.0))


def test_examples_show_faults_first_and_where_texts_part() -> None:
    probes = _set("canary=30")
    changed = {2: f"{probes[2].answer}!", 7: "nothing"}
    found = examples(_three(probes, lambda probe, _: changed.get(probes.index(probe), "")))
    assert [(example.probe, example.at, example.bad) for example in found] == [
        ("canary-7", 0, ["right"]),
        ("canary-2", len(probes[2].answer), []),
    ]
    assert found[0].wanted == found[0].alone == probes[7].answer
