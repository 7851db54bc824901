"""What an agent may do: the console's own operations, with a restriction on the addresses to load.

addresses      this machine, and the origins of --allow-url; every URL in the settings counts, in whatever setting
keys           only in environment variables that --key-env allows, each for the origin of its server
files          only data files that were uploaded to the console of this folder
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from bench.config.addresses import urls_of
from bench.console.errors import ConsoleError, Refused
from bench.console.kinds import KINDS, SHOWN
from bench.console.report_text import report_text
from bench.console.security import is_loopback
from bench.console.service import Console
from bench.console.target_keys import origin_of
from bench.console.task import Task
from bench.console.tasks import OWN_FOLDER
from bench.errors import Exit

GATE_WITHIN_S = 300.0
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class GateRules:
    """How runs are judged. `baseline` is a name; the file is in the console's folder."""

    objectives: Sequence[str] = ()
    baseline: str | None = None
    update: bool = False
    margin: str = "5%"
    strict: bool = False


class Operations:
    """Starts, watches and judges tasks. Each method raises BenchError with one sentence."""

    def __init__(self, console: Console, allowed: Sequence[str] = ()) -> None:
        """`allowed`: URLs of servers other than this machine's; only their scheme, host and port matter."""
        self.console = console
        self._allowed = frozenset(origin_of(url) for url in allowed)

    def start(
        self,
        settings: Mapping[str, object],
        *,
        kind: str,
        target: str | None,
        key_variable: str | None,
        title: str | None,
    ) -> dict[str, object]:
        problems = list(self.address_problems(settings))
        if target is not None:
            problems += self.address_problems({"url": self.console.target(target).url})
        if kind in KINDS:  # The console's form does not show them, and a task would ignore them.
            left_out = [name for name in KINDS[kind].left_out if settings.get(name) is not None]
            problems += [f"{name}: the kind {kind} sets it itself: leave it out" for name in left_out]
        if key_variable is not None and target is not None:
            problems.append("give target or key_variable: a saved target has its own key")
        if problems:
            raise Refused([("url", problem) for problem in dict.fromkeys(problems)])
        if key_variable is not None:
            target = self._target_with_key(urls_of(settings.get("url"))[0], key_variable)
        return brief(self.console.create(settings, target=target, kind=kind, title=title))

    def address_problems(self, settings: Mapping[str, object]) -> Iterator[str]:
        """A sentence for each address in the settings to which no load may be sent."""
        urls = urls_of(settings["url"]) if settings.get("url") else []
        for url in urls:
            if origin_of(url) is None:
                yield f"url {url!r}: write it whole, such as http://127.0.0.1:8000"
        if settings.get("cluster") not in (None, "ray"):
            yield "cluster: an agent may only use the cluster of this machine's settings, ray"
        for text in _texts({**settings, "url": urls}):
            # Also check whole words: the expression may end a URL inside its user part: http://127.0.0.1\@elsewhere
            # Whoever reads the whole text as a URL removes tabs and line breaks: http://127.0.0.1\t.elsewhere
            words = [*text.split(), re.sub(r"[\t\r\n]", "", text.strip())]
            whole = [word for word in words if _URL.match(word)]
            for address in dict.fromkeys([*_URL.findall(text), *whole]):
                if not self._may_reach(address):
                    # The host alone could name two servers, only one of which is allowed.
                    place = origin_of(address) or urlsplit(address).hostname or address
                    yield f"{place} is not an allowed target: start python -m bench mcp with --allow-url, or use this machine"

    def task(self, name: str) -> Task:
        return self.console.task(name)

    def tasks(self) -> list[dict[str, object]]:
        """All tasks, the latest first."""
        return [brief(task) for task in self.console.tasks(whole=True)]

    def stop(self, name: str) -> dict[str, object]:
        """Stop sending and let requests finish. The second call cuts them off."""
        return brief(self.console.queue.stop(name))

    def live(self, name: str) -> dict[str, object] | None:
        """The last second of a running task. Returns None before the first."""
        task = self.task(name)
        lines = self.console.live(name, run=task.run)
        return lines[-1] if lines else None

    def result(self, name: str) -> dict[str, object]:
        """The task, and its report as text."""
        task = self.task(name)
        kind = SHOWN[task.kind]
        path = self.console.folder.file(name, kind.numbers)
        page = path.with_name(kind.page)
        return {**brief(task), "report": report_text(task.kind, path.parent), "page": str(page.resolve())}

    def compare(self, names: Sequence[str], margin: str, allow: Sequence[str]) -> dict[str, object]:
        """compare.json of the tasks."""
        made = self.console.compared(names, margin=margin, allow=",".join(allow))
        if made.document is None:
            raise ConsoleError("; ".join(made.left_out) or "there is nothing to compare")
        return {"comparison": made.document, "left_out": list(made.left_out)}

    def gate(self, names: Sequence[str], rules: GateRules) -> dict[str, object]:
        """The result of `python -m bench gate`, with its exit status."""
        if not rules.objectives and rules.baseline is None:
            raise ConsoleError("nothing to check the runs against: give objectives, a baseline, or both")
        if rules.update and rules.baseline is None:
            raise ConsoleError("update adds the runs to a baseline: name it")
        runs = [str(self.console.folder.directory(name).resolve()) for name in names]
        words = [f"--slo={objective}" for objective in rules.objectives] + [f"--margin={rules.margin}"]
        if rules.baseline is not None:
            words += [f"--baseline={self._baseline(rules.baseline)}", *(["--update"] if rules.update else [])]
        words += ["--strict"] if rules.strict else []
        command = [sys.executable, "-m", "bench", "gate", *words, "--format", "json", "--", *runs]
        try:
            ran = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=GATE_WITHIN_S
            )
        except subprocess.TimeoutExpired:
            raise ConsoleError(f"the gate took more than {GATE_WITHIN_S:.0f} s: run it in a terminal") from None
        if ran.returncode not in (Exit.GOOD, Exit.OBJECTIVE_FAILED, Exit.INVALID, Exit.TARGET) or not ran.stdout:
            problems = re.sub(r"^(error: \d+ problems\n|error: |  - )", "", ran.stderr, flags=re.MULTILINE)
            raise ConsoleError("; ".join(problems.splitlines()))
        gate: dict[str, object] = orjson.loads(ran.stdout)
        return {"exit_status": ran.returncode, "gate": gate}

    def _may_reach(self, address: str) -> bool:
        origin = origin_of(address)
        return origin is not None and (origin in self._allowed or is_loopback(urlsplit(address).hostname or ""))

    def _target_with_key(self, url: str, variable: str) -> str:
        """Save a target for this server, with the variable that holds its key, and return its name."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{origin_of(url)}-{variable}").strip("-")
        return self.console.save_target({"name": name, "url": url, "key_variable": variable}).name

    def _baseline(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise ConsoleError(f"baseline {name!r}: give it a name of letters, digits, dots and dashes")
        folder = self.console.runs / OWN_FOLDER / "baselines"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.json"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in (*value.keys(), *value.values()):
            yield from _texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)


def brief(task: Task) -> dict[str, object]:
    """The facts about a task that an agent needs. `over`: nothing more happens by itself."""
    whole = task.to_json()
    known = (
        "id", "kind", "state", "title", "target", "load", "verdict", "verdict_headline", "reasons", "held", "headline",
        "problem", "needs", "share_done",
    )  # fmt: skip
    return {**{name: whole[name] for name in known if whole[name] not in (None, "", (), [])}, "over": task.over}
