"""The surroundings of a run: few open files, a full disk, unreadable files, and secrets that must stay hidden."""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from attacked.checkout import Checkout, Ran
from tests.support.literal_replies import GOOD, api, error, stream, whole
from tests.support.literal_server import LiteralServer, Received, Step


def limited(limit: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(limit, (value, value))


def few_files(checkout: Checkout) -> str:
    with checkout.mock("--ttft", "200ms", "--tpot", "5ms") as mock:
        words = ("--rate", "400", "--requests", "200", "--workers", "1")
        ran = checkout.run(mock.url, *words, preexec_fn=limited(resource.RLIMIT_NOFILE, 64))
    return ran.words("failed")


def full_disk(checkout: Checkout) -> str:
    """A 64 KB file system for the run directory, or a limit of 64 KB per file if it cannot be mounted."""
    place = checkout.place()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    limit = None if mounted.returncode == 0 else limited(resource.RLIMIT_FSIZE, 65_536)
    try:
        with checkout.mock("--ttft", "2ms", "--tpot", "1ms") as mock:
            ran = checkout.run(mock.url, "--requests", "400", out=place / "run", preexec_fn=limit)
        text = ran.words("full")
        left = len(ran.records()) if ran.status is not None else 0
        return f"{text}; {left} records on the disk"
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(place)], check=False)


def tiny_disk(checkout: Checkout) -> str:
    with checkout.mock("--ttft", "2ms", "--tpot", "1ms") as mock:
        ran = checkout.run(mock.url, "--requests", "20", preexec_fn=limited(resource.RLIMIT_FSIZE, 4_096))
    return ran.words()


def data_set(path: str) -> Callable[[Checkout], str]:
    def attack(checkout: Checkout) -> str:
        return checkout.run("http://127.0.0.1:1", "--dataset", path, shape=()).words()

    return attack


def pipe(checkout: Checkout) -> str:
    """A named pipe that nobody writes to."""
    path = checkout.place() / "pipe.jsonl"
    os.mkfifo(path)

    def during(process: subprocess.Popen[str], out: Path) -> None:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()

    ran = checkout.run("http://127.0.0.1:1", "--dataset", str(path), shape=(), during=during)
    return "waits for ever" if ran.status == -9 else ran.words()


# ---- Secrets -------------------------------------------------------------------------------------------------------------

KEY = "sk-attack-a1b2c3d4"


def seen(ran: Ran, *hidden: str) -> str:
    """Where a secret, in any form, appears in a run's output or files."""
    places = [name for name, text in (("stdout", ran.out), ("stderr", ran.err)) if any(s in text for s in hidden)]
    if ran.folder.exists():
        files = [path for path in sorted(ran.folder.iterdir()) if path.is_file()]
        places += [path.name for path in files if any(s in path.read_text(errors="replace") for s in hidden)]
    return f"the key stands in {', '.join(places)}" if places else "the key is nowhere"


def ftp(checkout: Checkout) -> str:
    ran = checkout.run(f"ftp://u:{KEY}@127.0.0.1/v1?key={KEY}", shape=())
    return f"exit {ran.status}; {seen(ran, KEY)}"


def quoting(request: Received) -> Sequence[Step]:
    """A server that quotes the request in its error."""
    said = f"no: {request.body.decode()} {request.path} {request.headers}"
    return whole("400 Bad Request", error(said))


def quoted(*flags: str, url: Callable[[str], str] = lambda url: url) -> Callable[[Checkout], str]:
    def attack(checkout: Checkout) -> str:
        probed: list[bool] = []

        def chat(request: Received) -> Sequence[Step]:
            if not probed:
                probed.append(True)
                return stream(*GOOD)
            return quoting(request)

        with LiteralServer(api(chat)) as server:
            ran = checkout.run(url(server.url), "--requests", "3", *flags)
        basic = base64.b64encode(f"user:{KEY}".encode()).decode()
        return f"exit {ran.status}; {seen(ran, KEY, basic)}"

    return attack


def credentials(checkout: Checkout) -> str:
    """Which transports send the URL's user name and password."""
    said = []
    for transport in ("wire", "httpx"):
        with LiteralServer(api(lambda request: stream(*GOOD))) as server:
            url = server.url.replace("://", "://user:pw@")
            checkout.run(url, "--requests", "1", "--transport", transport)
            chats = [request for request in server.received if request.path.startswith("/v1/chat")]
        sent = bool(chats) and all(request.headers.get("authorization", "").startswith("Basic ") for request in chats)
        said.append(f"{transport} {'sends' if sent else 'drops'} them")
    return "; ".join(said)


def row_with_a_secret(checkout: Checkout) -> str:
    rows = checkout.place() / "rows.jsonl"
    rows.write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}], "hf_token": KEY, "max_tokens": 3}) + "\n"
    )
    probed: list[bool] = []

    def chat(request: Received) -> Sequence[Step]:
        if not probed:
            probed.append(True)
            return stream(*GOOD)
        return quoting(request)

    with LiteralServer(api(chat)) as server:
        ran = checkout.run(server.url, "--requests", "3", "--dataset", str(rows), shape=())
    return f"exit {ran.status}; {seen(ran, KEY)}"


ATTACKS: dict[str, Callable[[Checkout], str]] = {
    "`ulimit -n 64` and 400 requests a second": few_files,
    "a disk of 64 KB": full_disk,
    "files of at most 4 KB": tiny_disk,
    "`--dataset /proc/self/mem`": data_set("/proc/self/mem"),
    "`--dataset /dev/zero`": data_set("/dev/zero"),
    "`--dataset /`": data_set("/"),
    "`--dataset` of a pipe that nobody writes to": pipe,
    "a key in an ftp URL": ftp,
    "a key in `--extra-body`, quoted by the server": quoted("--extra-body", json.dumps({"api_key": KEY})),
    "a key deep in `--extra-body`, quoted": quoted(
        "--extra-body", json.dumps({"metadata": {"auth": {"access_token": KEY}}})
    ),
    "a key in `--header`, quoted": quoted("--header", f"x-tenant: {KEY}"),
    "a password in the URL, quoted": quoted(url=lambda url: url.replace("://", f"://user:{KEY}@")),
    "a key in the URL's query, quoted": quoted(url=lambda url: f"{url}/v1?key={KEY}"),
    "a token in a row of the data set, quoted": row_with_a_secret,
    "user and password in the URL": credentials,
}
