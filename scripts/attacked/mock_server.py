"""Attacks on the mock by its input: prompts of many megabytes, endless headers, foreign pages, fields out of range."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attacked.checkout import Checkout, Mock

CHAT = "/v1/chat/completions"


def address(mock: Mock) -> tuple[str, int]:
    host, port = mock.url.removeprefix("http://").split(":")
    return host, int(port)


def ask(mock: Mock, timeout_s: float = 60, **more: Any) -> tuple[int, float]:
    """Status and time of a small request with these fields."""
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, **more}).encode()
    request = urllib.request.Request(mock.url + CHAT, body, {"content-type": "application/json"})
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            reply.read()
            status = reply.status
    except urllib.error.HTTPError as e:
        with e:
            status = e.code
    return status, time.monotonic() - began


def memory_mb(mock: Mock) -> float:
    text = Path(f"/proc/{mock.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def long_prompt(megabytes: int) -> Callable[[Checkout], str]:
    """One prompt of this many megabytes, with small requests beside it; reports the memory left afterwards."""

    def attack(checkout: Checkout) -> str:
        with checkout.mock("--ttft", "5ms", "--tpot", "1ms") as mock:
            ask(mock)
            before, said = memory_mb(mock), {"status": 0}

            def send() -> None:
                with contextlib.suppress(OSError):
                    text = "word " * (megabytes * 200_000)
                    said["status"] = ask(mock, messages=[{"role": "user", "content": text}])[0]

            sender = threading.Thread(target=send)
            sender.start()
            slowest = 0.0
            deadline = time.monotonic() + 60
            while sender.is_alive() and time.monotonic() < deadline:
                slowest = max(slowest, ask(mock)[1])
                time.sleep(0.05)
            sender.join()
            time.sleep(1)
            kept = memory_mb(mock) - before
        answer = f"status {said['status']}" if said["status"] else "the connection was closed"
        return f"{answer}; another request waits {slowest:.1f} s at most; {max(kept, 0):.0f} MB are kept"

    return attack


def half_heads(checkout: Checkout) -> str:
    """A thousand connections that send half a request header, checked after 40 s: the mock allows 30 s for a header."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4_096), hard), hard))
    with checkout.mock() as mock, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address(mock))) for _ in range(1_000)]
        for connection in connections:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ")
        time.sleep(40)
        status, took_s = ask(mock)
        still = 0
        for connection in connections:
            connection.setblocking(False)
            try:
                connection.recv(1)
            except BlockingIOError:
                still += 1
            except OSError:
                pass
    return f"{still:,} of 1,000 are open after 40 s; another request: status {status} in {took_s:.2f} s"


def foreign_page(path: str, method: str) -> Callable[[Checkout], str]:
    """A page whose name points to 127.0.0.1 requests a control path: `Host` is foreign, and there is no `Origin`."""

    def attack(checkout: Checkout) -> str:
        with checkout.mock() as mock:
            connection = http.client.HTTPConnection(*address(mock), timeout=10)
            body = b"{}" if method == "POST" else None
            connection.request(method, path, body, {"Host": "evil.example", "content-type": "application/json"})
            status = connection.getresponse().status
            connection.close()
        return f"status {status}"

    return attack


def field(**fields: Any) -> Callable[[Checkout], str]:
    """A field out of vLLM's range; vLLM answers 400."""

    def attack(checkout: Checkout) -> str:
        with checkout.mock("--ttft", "5ms", "--tpot", "1ms") as mock:
            return f"status {ask(mock, **fields)[0]}"

    return attack


ATTACKS: dict[str, Callable[[Checkout], str]] = {
    "a prompt of 20 MB": long_prompt(20),
    "a prompt of 60 MB": long_prompt(60),
    "1,000 half-sent heads": half_heads,
    "GET /ledger with a foreign Host": foreign_page("/ledger", "GET"),
    "POST /admin/reset with a foreign Host": foreign_page("/admin/reset", "POST"),
    "temperature 99": field(temperature=99),
    "top_p 7": field(top_p=7),
    "max_tokens -1": field(max_tokens=-1),
    "presence_penalty 9": field(presence_penalty=9),
    "n 0": field(n=0),
}
