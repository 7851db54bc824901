"""A mix of classes in virtual time: each class is sent by its share or rate, with any number of workers, in every mode."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.clock import LoopClock
from bench.config import RunConfig, resolve
from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.sending import Sending
from bench.dispatch.stop import Stop
from bench.load.components import source_of
from bench.modes.interface import Numbering
from bench.modes.rate import Rate
from bench.records import RequestRecord
from bench.transport.scripted import ScriptedReply, ScriptedTransport
from bench.workload import Encoded, Request
from tests.support.virtual_load import MS, START
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

SHARES = (("chat", 20), ("batch", 60), ("code", 20))


def mixed(folder: Path, **given: Any) -> RunConfig:
    """Three classes, each with a row that names it."""
    classes = []
    for name, share in SHARES:
        (folder / f"{name}.jsonl").write_text(f'{{"prompt": "{name}"}}\n')
        classes.append({"name": name, "dataset": str(folder / f"{name}.jsonl"), "share": share})
    for one, rate in zip(classes, given.pop("rates", ()), strict=False):
        del one["share"]
        one |= {"rate": rate}
    return resolve({"url": "http://h", "mix": {"classes": classes}, **given})


def sent(config: RunConfig, workers: int) -> list[tuple[RequestRecord, str]]:
    """The records of all workers, and the prompt of each."""
    found: list[tuple[RequestRecord, str]] = []
    plan = config.load.plan(config.length, source_of(config, None))
    for share in plan.shares(workers):
        prompts: dict[str, str] = {}
        records: list[RequestRecord] = []

        async def main(
            loop: VirtualTimeLoop, share: Any = share, prompts: Any = prompts, records: Any = records
        ) -> None:
            def reply(request: Request) -> ScriptedReply:
                prompts[request.id] = request.body.decode()
                # Batch requests take eight times as long, so most requests in flight are of that class, although most
                # sends are not.
                return ScriptedReply(ttft_ns=(40 if prompts[request.id] == "batch" else 5) * MS)

            clock = LoopClock()
            stop = Stop(
                clock, start_ns=START, requests=share.requests, duration_ns=share.duration_ns,
                warmup_requests=share.warmup_requests, warmup_ns=share.warmup_ns, ends_ns=share.ends_ns,
            )  # fmt: skip
            numbering = Numbering("run", first=share.worker, step=share.workers, class_of=config.class_of)
            source = source_of(config, None, share)
            load = config.load.worker_load(
                source, lambda s: Encoded(str(s.prompt).encode(), True, None), numbering, share
            )
            sending = Sending(
                transport=ScriptedTransport(reply, clock), clock=clock, stop=stop, in_flight=InFlightCounter(),
                on_record=records.append,
            )  # fmt: skip
            await load.dispatcher(sending).run(START)

        run_virtual(main)
        found += [(record, prompts[record.id]) for record in records]
    return found


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    "load",
    [
        {"requests": 400, "concurrency": 40},
        {"duration": "1s", "concurrency": 40},
        {"requests": 400, "rate": 500},
        {"duration": "2.5s", "rate": 500},
        {"requests": 400, "mode": "throughput", "max_concurrency": 64},
    ],
    ids=lambda load: " ".join(map(str, load.values())),
)
def test_each_class_is_sent_as_often_as_its_share_says(load: dict[str, Any], workers: int, tmp_path: Path) -> None:
    found = sent(mixed(tmp_path, **load), workers)
    assert len(found) >= 400
    assert {(record.traffic_class, prompt) for record, prompt in found} == {(name, name) for name, _ in SHARES}
    counts = Counter(record.traffic_class for record, _ in found)
    assert {name: counts[name] / len(found) for name, _ in SHARES} == pytest.approx(
        {name: share / 100 for name, share in SHARES}, rel=0.02
    )
    if "requests" in load:
        assert counts == {"chat": 80, "batch": 240, "code": 80}


@pytest.mark.parametrize("workers", [1, 4])
def test_each_class_with_a_rate_is_sent_at_the_instants_of_its_own_process(workers: int, tmp_path: Path) -> None:
    config = mixed(tmp_path, rates=(20, 60, 20), duration="10s")
    found = sent(config, workers)
    assert sorted(record.index for record, _ in found) == list(range(len(found)))
    for one in config.classes:
        assert isinstance(one.config.load, Rate)
        mine = sorted(
            record.intended_ns - START for record, prompt in found if prompt == record.traffic_class == one.name
        )
        own = one.config.load.offsets()
        assert mine == [next(own) for _ in mine]
        assert len(mine) == pytest.approx(10 * one.traffic.weight, rel=0.2)
