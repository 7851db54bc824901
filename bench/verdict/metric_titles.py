"""What sentences of a verdict call the metrics of a result: the titles of bench/metrics/catalog.py, a room above."""

TITLES = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "e2el_ms": "E2EL",
    "tps": "TPS",
    "ttft_from_intended_ms": "TTFT from due",
    "e2el_from_intended_ms": "E2EL from due",
    "ttfo_ms": "TTFO",
    "chunk_gap_ms": "chunk gap",
    "ttfb_ms": "TTFB",
    "rtf": "RTF",
    "ttfi_ms": "TTFI",
    "ttfa_ms": "TTFA",
    "playback_stall_ms": "playback stall",
    "playback_stalls": "playback stalls",
    "job_ms": "job",
}
"""By the key in results: what a ledger knows the truth of (bench/results/certificate.py)."""
