"""A real HTTP proxy, proxy.py, in its own process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.run_process import wait_for


@dataclass(frozen=True, slots=True)
class ProxyProcess:
    """A running proxy. It logs a line for each connection that has ended."""

    port: int
    log: Path

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def passed_on(self, what: str) -> bool:
        """Whether a line of its log contains this."""
        return any(what in line for line in self.log.read_text().splitlines())


@contextlib.contextmanager
def proxy_process(*flags: str) -> Iterator[ProxyProcess]:
    """A proxy on a free port, with further flags of proxy.py (`--basic-auth USER:PASSWORD`)."""
    with tempfile.TemporaryDirectory(prefix="trueload-proxy-") as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        words = [
            "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file), "--log-file", str(log),
            "--num-workers", "1", "--num-acceptors", "1", "--threaded",
            "--data-dir", folder, *flags,
        ]  # fmt: skip
        running = subprocess.Popen(
            [sys.executable, "-m", "proxy", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(lambda: port_file.exists() and port_file.read_text().strip() != "")
            yield ProxyProcess(int(port_file.read_text()), log)
        finally:
            running.terminate()
            running.wait()
