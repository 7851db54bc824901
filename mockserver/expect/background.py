"""Computes expectations: quick ones in place, slow ones in a separate process.

A thread would not do: a convolution takes a second of Python, during which the streams would wait for the GIL. A thread
of low priority is worse: on a busy machine it is not scheduled and holds the GIL all the while. (Measured: streams were
seconds late.)
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from dataclasses import asdict
from typing import Any

import orjson

from mockserver.config import MockConfig
from mockserver.errors import MockError
from mockserver.expect import EXPECTATIONS, RequestLengths
from promptset.distributions import Distribution

_REMEMBERED = 64


def is_quick(config: MockConfig, request: RequestLengths) -> bool:
    """Whether closed forms give the numbers, because at most one quantity is random."""
    if config.engine == "batching":
        return True
    gap = config.tpot if config.itl is None else config.itl
    varying = [distribution for distribution in (config.ttft, gap) if not _is_constant(distribution)]
    lengths_fixed = request.output_tokens is not None or _is_constant(config.output_tokens)
    gaps_drawn = config.itl is not None and not _is_constant(config.itl)
    plain = config.engine == "sampled" and config.ttft_per_input_token is None
    return plain and lengths_fixed and not gaps_drawn and len(varying) <= 1


def _is_constant(distribution: Distribution) -> bool:
    return ":" not in str(distribution)


class ExpectationCache:
    """Expectations, computed once per configuration. Use it inside a running event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[MockConfig, RequestLengths], asyncio.Future[dict[str, Any]]] = OrderedDict()

    async def of(self, config: MockConfig, request: RequestLengths) -> dict[str, Any]:
        """The expectations, times in ms. Raises MockError if the process fails, which is a bug."""
        if is_quick(config, request):
            return EXPECTATIONS[config.engine](config, request)
        key = (config, request)
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(_compute(config, request))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        try:
            # One caller may cancel while others wait for the same numbers.
            return await asyncio.shield(self._known[key])
        except MockError:
            self._known.pop(key, None)
            raise

    async def close(self) -> None:
        """Cancel running computations."""
        for future in self._known.values():
            future.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        self._known.clear()


async def _compute(config: MockConfig, request: RequestLengths) -> dict[str, Any]:
    question = orjson.dumps({"config": config.model_dump(mode="json"), "asked": asdict(request)})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mockserver.expect",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        answer, errors = await process.communicate(question)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise MockError(f"cannot compute the expectation (status {process.returncode}): {errors.decode()}")
    numbers: dict[str, Any] = orjson.loads(answer)
    return numbers
