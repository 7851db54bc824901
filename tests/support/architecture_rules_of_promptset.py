"""Who may import whom in promptset: a part of architecture_rules.py."""

from __future__ import annotations

PROMPTSET: dict[str, frozenset[str]] = {
    # promptset, from its foundations up to the command:
    "promptset": frozenset(),
    "promptset.errors": frozenset(),
    "promptset.clock": frozenset(),
    "promptset.closed_pipe": frozenset(),
    "promptset.completion": frozenset(),
    "promptset.dashed_values": frozenset(),
    "promptset.help_text": frozenset(),
    "promptset.depth": frozenset(),
    "promptset.large_numbers": frozenset(),
    "promptset.header_values": frozenset(),
    "promptset.json_schemas": frozenset(),
    "promptset.whole_file": frozenset(),
    "promptset.compiled": frozenset(),
    "promptset.rng": frozenset(),
    "promptset.distributions": frozenset({"promptset.errors", "promptset.rng", "promptset.whole_file"}),
    # Counting: a tokenizer, and the places to find one. No module here knows what a prompt is made of.
    "promptset.own_template": frozenset(),
    "promptset.chat": frozenset(),
    "promptset.chat_template": frozenset({"promptset.chat", "promptset.clock", "promptset.errors"}),
    "promptset.tokenizer_files": frozenset({"promptset.errors"}),
    "promptset.library": frozenset({"promptset.errors"}),
    "promptset.tokenizer": frozenset(
        {"promptset.chat", "promptset.chat_template", "promptset.errors", "promptset.library", "promptset.own_template"}
    ),
    "promptset.hub": frozenset({"promptset.errors", "promptset.library", "promptset.tokenizer"}),
    "promptset.server_tokens": frozenset(
        {"promptset.chat", "promptset.errors", "promptset.header_values", "promptset.tokenizer"}
    ),
    "promptset.tokens": frozenset(
        {"promptset.errors", "promptset.hub", "promptset.library", "promptset.own_template", "promptset.server_tokens",
         "promptset.tokenizer", "promptset.tokenizer_files"}
    ),
    "promptset.answers": frozenset({"promptset.chat"}),
    "promptset.tools": frozenset(
        {"promptset.chat", "promptset.depth", "promptset.errors", "promptset.large_numbers", "promptset.tokenizer",
         "promptset.whole_file"}
    ),
    # Text of a given length:
    "promptset.kinds": frozenset({"promptset.errors", "promptset.rng"}),
    "promptset.text": frozenset({"promptset.errors", "promptset.rng", "promptset.tokenizer"}),
    "promptset.drafts": frozenset(
        {"promptset.kinds", "promptset.rng", "promptset.text", "promptset.tokenizer"}
    ),
    "promptset.exact": frozenset(
        {"promptset.chat", "promptset.drafts", "promptset.errors", "promptset.kinds",
         "promptset.rng", "promptset.sums",
         "promptset.text", "promptset.tokenizer"}
    ),
    "promptset.sums": frozenset({"promptset.rng", "promptset.text", "promptset.tokenizer"}),
    "promptset.sentences": frozenset(
        {"promptset.errors", "promptset.rng", "promptset.sums", "promptset.text", "promptset.tokenizer"}
    ),
    "promptset.chat_sum": frozenset(
        {"promptset.chat", "promptset.errors", "promptset.rng", "promptset.sentences",
         "promptset.tokenizer"}
    ),
    # A way of sharing names segments of text, and never sees their content.
    "promptset.sharing": frozenset({"promptset.distributions.family", "promptset.errors", "promptset.rng"}),
    # Prompts, one by one:
    "promptset.outline": frozenset(
        {"promptset.chat", "promptset.drafts", "promptset.errors", "promptset.exact", "promptset.kinds", "promptset.rng",
         "promptset.sharing", "promptset.text", "promptset.tokenizer"}
    ),
    "promptset.samples": frozenset({"promptset.chat", "promptset.sharing"}),
    "promptset.simulated": frozenset(
        {"promptset.chat", "promptset.distributions", "promptset.drafts", "promptset.errors", "promptset.kinds",
         "promptset.outline", "promptset.rng", "promptset.samples", "promptset.sharing", "promptset.tokenizer"}
    ),
    "promptset.batches": frozenset(
        {"promptset.distributions", "promptset.errors", "promptset.outline", "promptset.rng", "promptset.samples",
         "promptset.simulated"}
    ),
    "promptset.audio": frozenset(
        {"promptset.distributions", "promptset.errors", "promptset.loaders.containers", "promptset.rng"}
    ),
    "promptset.images": frozenset({"promptset.distributions", "promptset.errors", "promptset.rng"}),
    "promptset.media": frozenset(),
    "promptset.video": frozenset(
        {"promptset.distributions", "promptset.errors", "promptset.images", "promptset.rng"}
    ),
    "promptset.loaders": frozenset(
        {"promptset.errors", "promptset.media", "promptset.outline", "promptset.rng", "promptset.samples",
         "promptset.sharing", "promptset.tokenizer", "promptset.tokens", "promptset.tools"}
    ),
    # Files and their rows are read without a tokenizer.
    "promptset.loaders.containers": frozenset(
        {"promptset.depth", "promptset.errors", "promptset.large_numbers", "promptset.whole_file"}
    ),
    "promptset.loaders.http_requests": frozenset(
        {"promptset.errors", "promptset.loaders.curl", "promptset.samples", "promptset.whole_file"}
    ),
    "promptset.loaders.curl": frozenset({"promptset.whole_file"}),
    "promptset.loaders.own": frozenset({"promptset.header_values"}),
    "promptset.loaders.rows": frozenset(
        {"promptset.errors", "promptset.loaders.own", "promptset.outline", "promptset.samples", "promptset.tools"}
    ),
    # Questions with known answers; the solver of a probe reads only its text.
    "promptset.probes": frozenset(
        {"promptset.chat", "promptset.errors", "promptset.json_schemas", "promptset.loaders.containers", "promptset.rng",
         "promptset.tools"}
    ),
    "promptset.sessions": frozenset(
        {"promptset.answers", "promptset.chat", "promptset.chat_sum", "promptset.distributions", "promptset.errors",
         "promptset.exact", "promptset.loaders", "promptset.outline", "promptset.rng", "promptset.samples",
         "promptset.sentences", "promptset.sharing", "promptset.simulated", "promptset.text", "promptset.tokenizer",
         "promptset.tools"}
    ),
    # Agents: the source distributions of their sessions, and the plans of sessions, use no tokenizer and no text.
    "promptset.agents": frozenset(),
    "promptset.agents.recipe": frozenset({"promptset.distributions", "promptset.errors"}),
    "promptset.agents.plan": frozenset({"promptset.agents.recipe", "promptset.distributions", "promptset.rng"}),
    "promptset.agents.made": frozenset(
        {"promptset.agents.plan", "promptset.agents.recipe", "promptset.chat", "promptset.chat_sum", "promptset.errors",
         "promptset.rng", "promptset.sentences", "promptset.sessions", "promptset.tokenizer"}
    ),
    "promptset.recipes": frozenset(
        {"promptset.agents.recipe", "promptset.distributions", "promptset.errors", "promptset.rng", "promptset.sharing",
         "promptset.whole_file"}
    ),
    # Data sets as files, and the command:
    "promptset.output_formats": frozenset(
        {"promptset.chat", "promptset.errors", "promptset.samples", "promptset.sessions", "promptset.sharing",
         "promptset.tokenizer"}
    ),
    "promptset.lines": frozenset(
        {"promptset.agents", "promptset.chat", "promptset.distributions", "promptset.errors", "promptset.kinds",
         "promptset.loaders", "promptset.output_formats", "promptset.recipes", "promptset.samples", "promptset.sessions",
         "promptset.simulated",
         "promptset.sharing", "promptset.tokenizer", "promptset.tokens"}
    ),
    "promptset.manifest": frozenset({"promptset.output_formats", "promptset.sharing", "promptset.tokenizer"}),
    "promptset.job": frozenset(
        {"promptset.agents.recipe", "promptset.chat", "promptset.distributions", "promptset.errors", "promptset.kinds",
         "promptset.lines",
         "promptset.loaders", "promptset.output_formats", "promptset.recipes", "promptset.sharing", "promptset.tokens",
         "promptset.tools"}
    ),
    "promptset.output": frozenset({"promptset.job", "promptset.lines", "promptset.manifest"}),
    "promptset.cli": frozenset({"promptset"}),
    "promptset.__main__": frozenset({"promptset.cli"}),
}  # fmt: skip
