"""`python -m mockserver.simulate`: the engines in virtual time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mockserver.simulate import Job, simulate
from mockserver.simulate.__main__ import main
from mockserver.simulate.routers import MOST_AHEAD, ROUTERS

COST = {"engine": "batching", "step_cost": "b0=1000,b1=0,b2=0,a0=200"}


def test_a_request_alone_takes_its_steps() -> None:
    found = simulate(Job(settings=COST, at_us=[50.0], input_tokens=[10], output_tokens=[4]))
    assert (found.sent_us, found.first_us, found.last_us, found.replica) == ([50.0], [1_250.0], [4_250.0], [0])


def test_requests_are_sent_in_the_order_of_their_times() -> None:
    job = Job(settings=COST, at_us=[3_000.0, 0.0], input_tokens=[9] * 2, output_tokens=[5] * 2, replicas=2)
    found = simulate(job)
    assert (found.sent_us, found.first_us, found.replica) == ([3_000.0, 0.0], [4_200.0, 1_200.0], [1, 0])


def test_users_send_their_next_request_when_the_last_has_ended() -> None:
    found = simulate(Job(settings=COST, users=1, input_tokens=[10] * 3, output_tokens=[2] * 3))
    assert found.sent_us == [0.0, 2_200.0, 4_400.0]


def test_replicas_have_engines_of_their_own() -> None:
    one, two = (
        simulate(
            Job(
                settings=COST | {"max_num_seqs": 1},
                at_us=[0, 0],
                input_tokens=[9] * 2,
                output_tokens=[5] * 2,
                replicas=replicas,
            )
        )
        for replicas in (1, 2)
    )
    assert one.first_us == [1_200.0, 6_200.0]
    assert (two.first_us, two.replica) == ([1_200.0, 1_200.0], [0, 1])


def test_a_replica_that_dies_takes_its_requests_along() -> None:
    job = Job(
        settings=COST,
        at_us=[0, 0, 5_000],
        input_tokens=[9] * 3,
        output_tokens=[9] * 3,
        replicas=2,
        changes=[(3_000, 1)],
    )
    found = simulate(job)
    assert [at is None for at in found.last_us] == [False, True, False]
    assert found.replica == [0, 1, 0]


def test_a_shared_prefix_is_computed_once() -> None:
    settings = {"engine": "batching", "step_cost": "b0=100,b1=10,b2=0"}
    found = simulate(
        Job(
            settings=settings, at_us=[0, 20_000, 40_000], input_tokens=[176] * 3, output_tokens=[1] * 3,
            prefix=[(1, 160), (1, 160), (2, 160)],
        )
    )  # fmt: skip
    took = [
        None if at is None or sent is None else at - sent
        for at, sent in zip(found.first_us, found.sent_us, strict=True)
    ]
    assert took == [1_860.0, 260.0, 1_860.0]


def test_nothing_is_sent_past_the_end() -> None:
    found = simulate(Job(settings=COST, at_us=[0, 900], input_tokens=[9] * 2, output_tokens=[1] * 2, until_us=500))
    assert found.sent_us == [0.0, None]


@pytest.mark.parametrize(
    ("router", "in_flight", "groups", "chosen"),
    [
        ("round_robin", [9, 0, 0], [1, 1, 1, 1], [0, 1, 2, 0]),
        ("least_in_flight", [1, 0, 0], [1, 1, 1], [1, 2, 1]),
        ("prefix", [0, 0, 0], [7, 8, 7, 8], [0, 1, 0, 1]),
        ("prefix", [MOST_AHEAD + 1, 0], [7, 7], [1, 1]),
    ],
)
def test_routers(router: str, in_flight: list[int], groups: list[int], chosen: list[int]) -> None:
    of = ROUTERS[router]()
    assert [of.choose(in_flight, group) for group in groups] == chosen


def test_a_line_is_a_job_and_gets_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [
        {"settings": COST, "at_us": [0], "input_tokens": [3], "output_tokens": [1]},
        {"settings": {"engine": "nothing"}, "at_us": [0], "input_tokens": [3], "output_tokens": [1]},
        {"at_us": [], "input_tokens": [3], "output_tokens": [0], "router": "any", "replicas": 0},
        {"what": 1},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, jobs)) + "\n\n"))
    main()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found[0] == {"sent_us": [0.0], "first_us": [1200.0], "last_us": [1200.0], "replica": [0]}
    assert "engine" in found[1]["error"]
    said = "router 'any': choose one of round_robin, least_in_flight, prefix; replicas: at least 1 must be there at any time"
    assert found[2]["error"].startswith(said)
    assert "what" in found[3]["error"]


def test_each_answer_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits for the answer on a pipe."""
    pipe = io.BytesIO()
    answers = io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8")

    def lines() -> Iterator[str]:
        for asked in range(3):
            assert pipe.getvalue().count(b"\n") == asked
            yield json.dumps({"settings": COST, "at_us": [0], "input_tokens": [3], "output_tokens": [1]})

    monkeypatch.setattr("sys.stdin", lines())
    monkeypatch.setattr("sys.stdout", answers)
    main()
    assert pipe.getvalue().count(b"\n") == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"replicas": 0}, "replicas: at least 1 must be there at any time"),
        ({"changes": [(5.0, 2), (9.0, 0)]}, "replicas: at least 1 must be there at any time"),
        ({"input_tokens": [0, 1]}, "input_tokens, output_tokens: each must be at least 1"),
        ({"output_tokens": [1, 0]}, "input_tokens, output_tokens: each must be at least 1"),
        ({"at_us": [0.0]}, "at_us has 1 entries and input_tokens 2"),
        ({"prefix": [(1, 1)]}, "prefix has 1 entries and input_tokens 2"),
        ({"users": 0, "at_us": ()}, "users: at least 1"),
        ({"router": "best", "replicas": 0}, "router 'best': choose one of"),
    ],
)
def test_a_job_that_cannot_be_is_refused(changes: dict[str, object], problem: str) -> None:
    fits: dict[str, object] = {"input_tokens": [1, 1], "output_tokens": [1, 1], "at_us": [0.0, 0.0]}
    Job(**fits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=problem):
        Job(**fits | changes)  # type: ignore[arg-type]


def test_the_steps_of_each_replica_vary_by_themselves(tmp_path: Path) -> None:
    shares = [0.01 * at for at in range(100)]
    cost = {
        "b0": 1000,
        "b1": 0,
        "b2": 0,
        "variation": {"power": 1, "at_us": 1000, "block": 1, "levels": [{"decodes": 1, "shares": shares}]},
    }
    (tmp_path / "cost.json").write_text(json.dumps(cost))
    settings = {"engine": "batching", "step_cost": str(tmp_path / "cost.json")}
    found = simulate(Job(settings=settings, at_us=[0.0] * 4, input_tokens=[9] * 4, output_tokens=[9] * 4, replicas=4))
    assert found.replica == [0, 1, 2, 3]
    assert len(set(found.last_us)) == 4
