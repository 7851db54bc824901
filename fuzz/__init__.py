"""Fuzzing of everything that reads what others wrote. One target a file, one line in TARGETS; `scripts/fuzz` runs them.

The property: no input crashes a reader (only its documented errors come out), none keeps it busy for long, and where bytes
are counted each is counted once. tests/unit/test_fuzz.py runs every target over its corpus and some mutations of it,
without atheris. An input that was found to break a reader goes into `fuzz/corpus/TARGET/`, and into the tests of that reader.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"

TARGETS: dict[str, str] = {
    # What a server sends.
    "http": "responses of HTTP, whole and cut anywhere",
    "sse": "server-sent events, whole and cut anywhere",
    "exchange": "a whole response, up to its record: each byte of the body is counted",
    "chat_events": "events of chat completions",
    "completions_events": "events of completions",
    "messages_events": "events of Messages",
    "responses_events": "events of Responses",
    "whole_replies": "replies in one piece, and errors, of every endpoint",
    "core_reads": "the compiled receiver: a response as it reads it, against the reading in Python",
    "core_texts": "the compiled core: the texts of events, against those of Python",
    "client_frames": "frames of a WebSocket, as the client reads them",
    "metrics_page": "pages of metrics in Prometheus' text format",
    # What a run leaves behind.
    "requests_file": "requests.jsonl, up to the report",
    "samples_file": "samples.jsonl, up to the report",
    "run_yaml": "run.yaml, up to the report",
    "server_file": "server.jsonl, up to the report",
    "changes_file": "changes.jsonl, up to the report",
    "ledger_file": "ledger.jsonl, up to the certificate",
    "mock_file": "mock.json, up to the certificate",
    "gpu_file": "gpu.jsonl, up to the report",
    "certificates_file": "certificates.json, up to the report",
    "summary_file": "summary.json, as comparisons read it",
    "live_file": "live.jsonl, as the console reads it",
    "baseline_file": "baseline.json, up to the gate",
    "search_file": "search.json, as --resume reads it",
    "machine_files": "what a machine keeps of its limits and certificates, as later runs read it",
    # What a user gives.
    "settings": "settings of a run: every flag and key of YAML",
    "config_file": "the file of --config",
    "mix_file": "the file of --mix",
    "data_set_json": "data sets as JSON or JSON Lines, traces among them",
    "data_set_csv": "data sets as CSV",
    "sessions_file": "data sets of sessions and recordings",
    "recipe_file": "recipes of prompts and of sessions",
    # What the mock reads.
    "mock_requests": "bodies and headers of requests",
    "mock_frames": "frames of a WebSocket, as the mock reads them",
    "mock_config": "the mock's configuration, its faults and its distributions",
    "mock_replay": "the file of --replay, and profiles",
    "mock_heads": "heads of ordinary requests, as the mock's short way reads them, against httptools",
    "mock_sender": "the compiled sender: any texts, against the frames of Python",
}
"""Name of a target, which is the name of its module here -> what it reads."""


def load(name: str) -> Target:
    """A target, imported only now: an import under atheris instruments what it imports."""
    target: Target = import_module(f"fuzz.{name}").TARGET
    return target


def corpus(name: str) -> list[bytes]:
    """The inputs that are kept for a target, in order of their names, and those that it makes."""
    return load(name).more_seeds() + [path.read_bytes() for path in sorted((CORPUS / name).glob("*")) if path.is_file()]
