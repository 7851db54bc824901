"""Slow expectations are computed in a separate process, with the same result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mockserver.config import MockConfig
from mockserver.errors import MockError
from mockserver.expect import EXPECTATIONS, RequestLengths, background
from mockserver.expect.background import ExpectationCache, is_quick


def ask(*questions: tuple[MockConfig, RequestLengths]) -> list[dict[str, Any]]:
    """The answers to questions that are asked at the same time."""

    async def main() -> list[dict[str, Any]]:
        expectations = ExpectationCache()
        try:
            return await asyncio.gather(*(expectations.of(*question) for question in questions))
        finally:
            await expectations.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("config", "asked", "quick"),
    [
        ({}, RequestLengths(), True),
        ({"ttft": "exp:mean=1s"}, RequestLengths(), True),
        ({"tpot": "exp:mean=1s"}, RequestLengths(), True),
        ({"itl": "20ms", "ttft": "exp:mean=1s"}, RequestLengths(), True),
        ({"ttft": "exp:mean=1s", "output_tokens": "uniform:1..9"}, RequestLengths(output_tokens=5), True),
        ({"ttft": "exp:mean=1s", "output_tokens": "uniform:1..9"}, RequestLengths(), False),
        ({"ttft": "exp:mean=1s", "tpot": "exp:mean=1s"}, RequestLengths(), False),
        ({"itl": "exp:mean=1s"}, RequestLengths(), False),
        ({"ttft": "exp:mean=1s", "ttft_per_input_token": "1us"}, RequestLengths(), False),
        ({"engine": "batching"}, RequestLengths(), True),
    ],
    ids=str,
)
def test_what_is_a_closed_form_is_computed_in_place(config: dict[str, Any], asked: RequestLengths, quick: bool) -> None:
    assert is_quick(MockConfig(**config), asked) is quick


@pytest.mark.processes
def test_the_process_gives_what_would_be_computed_in_place() -> None:
    config = MockConfig(
        ttft="lognormal:mean=200ms,cv=0.5,max=5s", itl="gamma:mean=20ms,cv=0.3,min=1ms", output_tokens="uniform:2..9",
        reasoning_tokens="3", fault=["429:rate=0.1", "reset:index=3,after=2"], api_key="secret", cors="*",
    )  # fmt: skip
    assert ask((config, RequestLengths(input_tokens=5))) == [
        EXPECTATIONS["sampled"](config, RequestLengths(input_tokens=5))
    ]


def test_what_several_ask_at_once_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def compute(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {}

    monkeypatch.setattr(background, "_compute", compute)
    config = MockConfig(ttft="exp:mean=1s", itl="exp:mean=1ms", output_tokens=3)
    first, second = ask((config, RequestLengths()), (config, RequestLengths()))
    assert first is second


@pytest.mark.processes
def test_a_process_that_fails_is_a_defect_that_says_so() -> None:
    config = MockConfig(itl="exp:mean=1ms").model_copy(update={"engine": "no such engine"})
    with pytest.raises(MockError, match="cannot compute the expectation"):
        ask((config, RequestLengths()))


class Endless:
    """A process that computes until it is killed."""

    returncode: int | None = None

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.calls: list[str] = []

    async def communicate(self, question: bytes) -> tuple[bytes, bytes]:
        self.asked.set()
        await asyncio.Event().wait()
        return b"", b""

    def kill(self) -> None:
        self.calls.append("kill")

    async def wait(self) -> None:
        self.calls.append("wait")


def test_a_mock_that_ends_does_not_wait_for_what_nobody_awaits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[list[str], bool]:
        process = Endless()

        async def start(*_: object, **__: object) -> Endless:
            return process

        monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
        expectations = ExpectationCache()
        waiting = asyncio.ensure_future(expectations.of(MockConfig(itl="exp:mean=1ms"), RequestLengths()))
        await process.asked.wait()
        await expectations.close()
        await asyncio.wait([waiting])
        return process.calls, waiting.cancelled()

    assert asyncio.run(main()) == (["kill", "wait"], True)


def test_the_oldest_of_many_expectations_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []

    async def compute(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
        computed.append(config.seed)
        return {"seed": config.seed}

    monkeypatch.setattr(background, "_compute", compute)
    monkeypatch.setattr(background, "_REMEMBERED", 2)

    async def main() -> None:
        expectations = ExpectationCache()
        for seed in (1, 2, 1, 3, 2, 1):
            config = MockConfig(itl="exp:mean=1ms", output_tokens=3, seed=seed)
            assert await expectations.of(config, RequestLengths()) == {"seed": seed}
        await expectations.close()

    asyncio.run(main())
    assert computed == [1, 2, 3, 1]


def test_an_expectation_that_failed_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[MockError | dict[str, Any]] = iter([MockError("a defect"), {"ok": 1}])

    async def compute(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
        if isinstance(answer := next(answers), MockError):
            raise answer
        return answer

    monkeypatch.setattr(background, "_compute", compute)

    async def main() -> dict[str, Any]:
        expectations, config = ExpectationCache(), MockConfig(itl="exp:mean=1ms", output_tokens=3)
        with pytest.raises(MockError):
            await expectations.of(config, RequestLengths())
        return await expectations.of(config, RequestLengths())

    assert asyncio.run(main()) == {"ok": 1}
