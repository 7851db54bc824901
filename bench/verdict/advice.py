"""What to do about each sign of a bad measurement, in a sentence, and the additions of the site's reference."""

from __future__ import annotations

from bench.results.summary import Verdict

ADVICE: dict[str, str] = {
    "nothing_measured": "run for longer than the warm-up plus one reply",
    "cut_requests": "let requests in flight finish (a second Ctrl-C cuts them); if they hang, read the server's log",
    "send_lateness": "free the machine, lower the rate, or use more processors (--workers auto)",
    "ready_not_sent": "free the machine; check for a suspended machine, a CPU limit or swap",
    "never_sent": "make the prompts ahead with python -m promptset and --dataset, use shorter ones, or free the machine",
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
    "imported": "measure with python -m bench run if you need numbers of known error",
    "errors": "read the table of errors: correct what the server refuses (400, 404), else lower the load until nothing fails",
    "sent_again": "look in the logs of the server and the proxy for an idle timeout or a worker that restarts",
    "late_ends": "look for what the server, or a proxy, does between the last token and the end of a reply (usage, logs)",
    "slow_connects": "raise the server's backlog (net.core.somaxconn too), and let it keep connections open",
    "target_gone": "read the server's log (out of memory is the usual cause), and run again with a lower load",
    "replica_gone": "read the log of that replica (out of memory is the usual cause), and run again",
    "replica_errors": "read the log of that replica, and the table of errors",
    "replica_slower": "compare that replica's GPUs, flags and other load with those of the others; see its row in the table",
    "replica_share": "look at the router's policy: sessions, shared prefixes and connections that stay open pull requests "
    "to one replica",
    "cache_hits": "empty the server's cache before the run, or plan the sharing with --prefix",
    "server_counts": "keep other clients away from the server; name each replica's metrics with --server-metrics",
    "input_tokens": "raise the context length of the server, or use shorter prompts; if it counts something else, name the "
    "model's --tokenizer",
    "output_tokens": "check that the server supports ignore_eos, and that prompt and reply fit its context length",
    "usage": "name the model's own tokenizer with --tokenizer",
    "usage_contradicted": "report it to the makers of the server, and name the model's --tokenizer for exact counts",
    "tokens_doubted": "let the server send its usage, or name the model's --tokenizer",
    "calibration": "free the machine and calibrate again; calibrate --sweep finds the largest load that it "
    "measures correctly",
}
"""By the name of the sign, as in SIGNS."""


MORE: dict[str, str] = {
    "send_lateness": "A processor sends about 2,000 requests a second.",
    "ready_not_sent": "Throughput reads too low.",
    "pause": "In docker, `docker run --cpus` is the limit.",
    "sent_rate": "If a note says that requests were not made in time, write the prompts to a file first.",
    "sent_dispersion": "Requests that were due at different times left together, because the client was busy in between.",
    "waited_at_cap": "The latencies *from due* include the wait.",
    "loop_lag": "The program itself takes the time stamps with `--transport httpx`, and on systems without kernel stamps.",
    "cpu": "For long replies, leave out `--tokenizer`, which counts their tokens.",
    "clock_drift": "Latencies are right, because each uses one clock; arrivals, requests in flight and charts over time "
    "are off by the drift. Do not pause or move virtual machines.",
    "workers": "The usual cause is the out-of-memory killer, or the container's memory limit.",
    "run_queue": "Otherwise give client and server their own processors with `taskset`.",
    "wide_stamps": "The server or a proxy sends tokens in groups (nginx: `proxy_buffering off`; speculative decoding, "
    "`stream_interval`), or the client was too busy. TTFT, TPOT and E2EL remain exact.",
    "errors": "[Errors and what causes them](../troubleshooting.md#errors-and-what-causes-them).",
    "sent_again": "Limits of requests per connection, and idle timeouts shorter than the pauses between requests, do "
    "this.",
    "server_counts": "If the server counted fewer requests than got answers, the run reads the metrics of one replica "
    "only. If only cached tokens or drafts disagree, trust neither hit rate.",
    "cache_hits": "With too many hits, TTFT is too low for fresh prompts. In sessions the plan assumes an unlimited "
    "cache: with fewer hits, the cache is too small, other load evicts the sessions, their turns reach different "
    "replicas, or caching is off. If the server works that way, the numbers are true: raise `cache_hits_off_plan`.",
    "input_tokens": "Some servers cut what is longer than their context without an error (Ollama: `num_ctx`): TTFT is then "
    "that of a shorter prompt.",
    "output_tokens": "vLLM and SGLang support `ignore_eos`.",
    "usage": "If the counts still differ, the server does not return all tokens as text (special tokens, hidden "
    "reasoning) or uses another tokenizer; prompts then do not have exactly the requested length.",
    "usage_contradicted": "For example, usage is 0 for a reply with text, or less than the number of chunks.",
    "tokens_doubted": "The server sent no usage and its chunks hold several tokens each (it refuses `stream_options`, or "
    "a proxy removes it); or usage contradicts how the reply ended: if it is below the limit, the context may have "
    "been full. TTFT, E2EL and chunk gaps are right.",
    "calibration": "The certificate names the likely cause.",
}
"""What the site's reference adds to the advice, in Markdown."""


def advice_of(verdict: Verdict) -> list[str]:
    """The advice for each reason of a verdict in a summary. Empty for unknown signs: old files do not name them."""
    signs = verdict.signs
    if signs is None or len(signs) != len(verdict.reasons):
        return [""] * len(verdict.reasons)
    return [ADVICE.get(sign, "") for sign in signs]
