"""The title of each metric on pages and in sentences, by its key in results."""

TITLES = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "e2el_ms": "E2EL",
    "tps": "TPS",
    "ttft_from_intended_ms": "TTFT from due",
    "e2el_from_intended_ms": "E2EL from due",
    "ttfo_ms": "TTFO",
    "chunk_gap_ms": "Chunk gap",
    "ttfb_ms": "TTFB",
    "ttfa_ms": "TTFA",
    "rtf": "RTF",
    "playback_stall_ms": "Playback stall",
    "playback_stalls": "Playback stalls",
    "audio_s": "Audio",
    "wer": "WER",
    "ttfi_ms": "TTFI",
    "job_ms": "Job",
}


def in_sentence(key: str) -> str:
    """The title for use within a sentence."""
    title = TITLES[key]
    return title if title[:2].isupper() else title.lower()
