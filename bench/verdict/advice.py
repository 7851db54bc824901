"""What to do about each sign of a bad measurement, in a sentence. docs/troubleshooting.md says more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results.summary import Verdict

ADVICE: dict[str, str] = {
    "nothing_measured": "run for longer than the warm-up plus one reply",
    "send_lateness": "free the machine, lower the rate, or use more processors (--workers auto)",
    "ready_not_sent": "free the machine; check for a suspended machine, a CPU limit or swap",
    "pause": "do not suspend the machine during a run; check swap and the CPU limit of the container",
    "sent_rate": "lower the rate or free the machine; make long prompts ahead with python -m promptset and --dataset",
    "sent_dispersion": "free the machine, lower the rate, or use more processors (--workers auto)",
    "off_plan": "free the machine, so that every worker applies a change in time; do not edit changes.jsonl",
    "waited_at_cap": "raise --max-concurrency or lower the rate; if you want the cap, use the latencies from due",
    "loop_lag": "use --transport wire on Linux, or free the machine",
    "cpu": "use more workers (--workers 4), --transport wire, or a machine with more processors",
    "workers": "use fewer workers, shorter prompts or more memory; dmesg names what killed the process",
    "clock_drift": "run NTP or chrony on every node, and let it settle before the load",
    "run_queue": "close other programs, or move the server to another machine; in a container, raise the CPU limit",
    "wide_stamps": "turn off buffering in the proxy; if the server groups tokens by design, do not use ITL",
    "littles_law": "free the machine; on a quiet one, report this as a defect of Trueload",
    "files": "restore the file from a copy of the run directory, or measure again",
    "errors": "read the table of errors; lower the load until nothing fails",
    "sent_again": "look in the logs of the server and the proxy for an idle timeout or a worker that restarts",
    "target_gone": "read the server's log (out of memory is the usual cause), and run again with a lower load",
    "cache_hits": "empty the server's cache before the run, or plan the sharing with --prefix",
    "server_counts": "keep other clients away from the server; name each replica's metrics with --server-metrics",
    "output_tokens": "check that the server supports ignore_eos, and that prompt and reply fit its context length",
    "usage": "name the model's own tokenizer with --tokenizer",
    "usage_contradicted": "report it to the makers of the server, and name the model's --tokenizer for exact counts",
    "tokens_doubted": "let the server send its usage, or name the model's --tokenizer",
    "calibration": "free the machine and calibrate again; calibrate --sweep finds the largest load that it "
    "measures correctly",
}
"""By the name of the sign, as SIGNS has it."""


def advice_of(verdict: Verdict) -> list[str]:
    """The advice for each reason of a verdict in a summary, as far as its signs are known: old files do not have them."""
    signs = verdict.signs
    if signs is None or len(signs) != len(verdict.reasons):
        return [""] * len(verdict.reasons)
    return [ADVICE.get(sign, "") for sign in signs]
