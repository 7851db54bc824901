"""Agent sessions of the recipe `coding-agent`: each number beside its target. Parts: table, exact, making, load.

- table: quantiles of drawn plans beside the published ones.
- exact: prompts, drawn over all turns of many sessions, are counted whole and compared with the plan.
- making: time and bytes of a session.
- load: N users hold sessions of 100,000 tokens of context against a server that reads requests and answers at once;
  memory of the client and CPU per request, by the difference of a short and a long run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from promptset import recipes
from promptset.agents.made import agent_sessions
from promptset.agents.plan import plan_session
from promptset.rng import stream
from promptset.tokens import load_tokenizer
from tests.support.session_table import PUBLISHED, PUBLISHED_HIT_RATE, PUBLISHED_PAUSES_S, SHARES, table_of

PARTS = ("table", "exact", "making", "load")
WITHIN = 0.10
MOST_CPU_MS, MOST_MB = 5, 2_000
CONTEXT_TOKENS, ANSWER_TOKENS, TURNS = 100_000, 32, 40
LONG_SESSIONS = f"""\
like: coding-agent
turns: {TURNS}
first_context: {CONTEXT_TOKENS}
growth: 325
output_tokens: {ANSWER_TOKENS}
compaction: {{share: 0%, keeps: 15%..60%}}
cache_break: {{share: 0%}}
pauses:
  human: {{share: 13%, time: "exp:mean=2s"}}
  tool: {{time: "exp:mean=500ms"}}
"""


def table(sessions: int) -> bool:
    recipe = recipes.load_sessions("coding-agent")
    began = time.perf_counter()
    found = table_of(plan_session(recipe, 0, index) for index in range(sessions))
    took_s = time.perf_counter() - began
    print(f"{sessions:,} sessions drawn in {took_s:.1f} s ({found.requests:,} requests)")
    print(f"{'p50 / p90 / p99':24} {'published':>26} {'drawn':>26} {'off at p50, p90':>18}")
    good = True
    for name, published in PUBLISHED.items():
        drawn = found.quantiles[name]
        off = [a / b - 1 for a, b in zip(drawn[:2], published[:2], strict=True)]
        good &= all(abs(value) <= WITHIN for value in off)
        print(f"{name:24} {_three(published):>26} {_three(drawn):>26} {off[0]:>+9.1%} {off[1]:>+8.1%}")
    print(f"{'input tokens':24} {'':>26} {_three(found.quantiles['input tokens']):>26}")
    for name, pauses in PUBLISHED_PAUSES_S.items():
        drawn = found.pauses_s[name]
        off = [a / b - 1 for a, b in zip(drawn[:2], pauses, strict=True)]
        good &= all(abs(value) <= WITHIN for value in off)
        print(
            f"{'pause of a ' + name + ', s':24} {_three(pauses):>26} {_three(drawn):>26} {off[0]:>+9.1%} {off[1]:>+8.1%}"
        )
    print(f"{'cache hit rate':24} {PUBLISHED_HIT_RATE:>26.3f} {found.hit_rate:>26.3f}")
    return good and abs(found.hit_rate / PUBLISHED_HIT_RATE - 1) <= WITHIN


def _three(values: tuple[float, ...]) -> str:
    return " / ".join(f"{value:,.0f}" for value in values[: len(SHARES)])


def exact(prompts: int, tokenizer: str | None) -> bool:
    made = agent_sessions(load_tokenizer(tokenizer), recipes.load_sessions("coding-agent"), seed=1)
    chance = stream(1, "prompts")
    checked = right = tokens = index = 0
    began = time.perf_counter()
    while checked < prompts:
        session = made.session_at(index)
        index += 1
        for _ in range(min(10, prompts - checked)):
            number = int(chance.random() * len(session.turns))
            counted = made.tokenizer.count_chat(session.conversation(number))
            checked += 1
            tokens += counted
            right += counted == session.turns[number].input_tokens
    took_s = time.perf_counter() - began
    print(
        f"exact prompts: {right:,} of {checked:,} of {index} sessions, by whole counts of {tokens / 1e6:.0f} million tokens "
        f"in {took_s:.0f} s ({made.tokenizer.name}{'' if made.known else ', counted whole'})"
    )
    return right == checked


def making(tokenizer: str | None) -> bool:
    made = agent_sessions(load_tokenizer(tokenizer), recipes.load_sessions("coding-agent"), seed=0)
    made.session_at(0)
    began = time.perf_counter()
    sessions = [made.session_at(index) for index in range(1, 65)]
    took_s = time.perf_counter() - began
    turns = sum(len(session.turns) for session in sessions)
    characters = sum(len(turn.content) + len(turn.answer or "") for session in sessions for turn in session.turns)
    print(
        f"making: {took_s / len(sessions) * 1e3:.1f} ms a session, {characters / len(sessions) / 1e6:.2f} MB of text "
        f"({len(sessions)} sessions, {turns} turns)"
    )
    return True


class Sink(threading.Thread):
    """A chat server in this process that reads each request and answers at once with a stream of words."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.port = 0
        self.ready = threading.Event()
        event = 'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]}\n\n'
        delta = event % '{"index":0,"delta":%s,"finish_reason":%s}'
        words = [delta % ('{"content":" word"}', "null")] * ANSWER_TOKENS
        self._events = [event.encode() for event in (*words, delta % ("{}", '"stop"'), "data: [DONE]\n\n")]

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=2**22)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                if head.startswith(b"GET") or b'"stream":true' not in body:
                    answer = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
                    if body:
                        said = b'{"role":"assistant","content":"ok"}'
                        answer = b'{"choices":[{"index":0,"message":%b,"finish_reason":"stop"}]}' % said
                    writer.write(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                        % (len(answer), answer)
                    )
                else:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                    )
                    writer.write(
                        b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in self._events) + b"0\r\n\r\n"
                    )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def load(users: int) -> bool:
    sink = Sink()
    sink.start()
    sink.ready.wait()
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "long.yaml"
        recipe.write_text(LONG_SESSIONS)
        short, long = (_run(sink.port, recipe, users, users * turns, Path(folder) / str(turns)) for turns in (2, 12))
    cpu_ms = (long[0] - short[0]) / (users * 10) * 1e3
    print(
        f"load: {users} live sessions of {CONTEXT_TOKENS:,} tokens, {users * 12:,} requests in {long[2]:.0f} s: "
        f"{long[1]:,.0f} MB of client with the process that makes sessions (target <= {MOST_MB:,}), "
        f"{cpu_ms:.2f} ms CPU a request of {ANSWER_TOKENS} tokens out (target <= {MOST_CPU_MS})"
    )
    return cpu_ms <= MOST_CPU_MS and long[1] <= MOST_MB


def _run(port: int, recipe: Path, users: int, requests: int, out: Path) -> tuple[float, float, float]:
    """CPU seconds and peak memory in MB of the client and its children, and the elapsed seconds."""
    command = [
        sys.executable, "-m", "bench", "run", "--url", f"http://127.0.0.1:{port}", "--model", "m", "--mode", "sessions",
        "--dataset", str(recipe), "--concurrency", str(users), "--requests", str(requests), "--out", str(out),
    ]  # fmt: skip
    began = time.perf_counter()
    with Path(f"{out}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        most_mb = 0.0
        ended = threading.Event()

        def watch() -> None:
            nonlocal most_mb
            while not ended.wait(0.1):
                most_mb = max(most_mb, _memory_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        ended.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if not (out / "summary.json").is_file():  # Any verdict will do: it depends on the machine.
        sys.exit(f"the load failed (exit {process.returncode}):\n{Path(f'{out}.log').read_text()[-2000:]}")
    return used.ru_utime + used.ru_stime, most_mb, time.perf_counter() - began


def _memory_mb(pid: int) -> float:
    """The resident memory of a process and its children."""
    total = 0
    parents = {pid}
    for entry in sorted((p for p in Path("/proc").iterdir() if p.name.isdigit()), key=lambda p: int(p.name)):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(entry.name) in parents or int(fields[1]) in parents:
            parents.add(int(entry.name))
            total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="plans to draw for the table (default: 10000)")
    parser.add_argument("--prompts", type=int, default=1_000, help="prompts to count whole (default: 1000)")
    parser.add_argument("--users", type=int, default=64, help="live sessions of the load (default: 64)")
    parser.add_argument("--tokenizer", help="for exact and making (default: the embedded one)")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to do (default: all)")
    options = parser.parse_args()
    parts = options.parts or PARTS
    good = True
    if "table" in parts:
        good &= table(options.sessions)
    if "exact" in parts:
        good &= exact(options.prompts, options.tokenizer)
    if "making" in parts:
        good &= making(options.tokenizer)
    if "load" in parts:
        good &= load(options.users)
    print("all within their targets" if good else "NOT all within their targets")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
