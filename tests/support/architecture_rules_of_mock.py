"""Who may import whom in the mock: a part of architecture_rules.py."""

from __future__ import annotations

MOCKSERVER: dict[str, frozenset[str]] = {
    # The mock, from the bottom up. No module imports upwards. "mockserver" is for the package itself.
    "mockserver": frozenset({"mockserver.api"}),
    "mockserver.errors": frozenset(),
    "mockserver.native": frozenset({"mockserver.native._sender", "promptset.compiled"}),
    "mockserver.clock": frozenset(),
    "mockserver.rng": frozenset(),
    "mockserver.steps": frozenset({"mockserver.rng"}),
    "mockserver.steps.scaling": frozenset({"mockserver.faults"}),
    "mockserver.step_cost": frozenset({"mockserver.steps.variation", "promptset.whole_file"}),
    "mockserver.sampled_times": frozenset({"mockserver.rng", "mockserver.steps.variation", "promptset.whole_file"}),
    "mockserver.faults": frozenset({"promptset"}),
    "mockserver.presets": frozenset({"mockserver.step_cost"}),
    "mockserver.profiles": frozenset(
        {"mockserver.sampled_times", "mockserver.step_cost", "promptset.whole_file"}
    ),
    "mockserver.combinations": frozenset({"mockserver.config", "mockserver.faults", "mockserver.step_cost"}),
    "mockserver.config_parts": frozenset(
        {"mockserver.faults", "mockserver.sampled_times", "mockserver.step_cost", "mockserver.steps.scaling", "promptset"}
    ),
    "mockserver.config": frozenset(
        {"mockserver.combinations", "mockserver.config_parts", "mockserver.errors", "mockserver.faults",
         "mockserver.presets", "mockserver.profiles", "mockserver.sampled_times", "mockserver.step_cost",
         "mockserver.steps.scaling", "promptset"}
    ),
    # Shared by the processes of one mock; knows nothing of requests.
    "mockserver.workers": frozenset({"mockserver.errors"}),
    # Random plans, and the engines driven by them: pure, no clock.
    "mockserver.plans": frozenset(
        {"mockserver.combinations", "mockserver.config", "mockserver.errors", "mockserver.faults", "mockserver.rng",
         "mockserver.sampled_times", "mockserver.workers.shared_state", "promptset"}
    ),
    "mockserver.engine": frozenset(
        {"mockserver.combinations", "mockserver.config", "mockserver.plans", "mockserver.rng", "mockserver.step_cost",
         "mockserver.steps.variation"}
    ),
    # The engines without the server around them.
    "mockserver.simulate": frozenset(
        {"mockserver.config", "mockserver.engine", "mockserver.errors", "mockserver.plans", "mockserver.rng",
         "mockserver.step_cost"}
    ),
    "mockserver.expect": frozenset(
        {"mockserver.clock", "mockserver.combinations", "mockserver.config", "mockserver.engine.closed_form",
         "mockserver.errors", "mockserver.plans", "mockserver.sampled_times", "mockserver.step_cost", "promptset"}
    ),
    "mockserver.tokencount": frozenset({"mockserver.engine.chain", "promptset"}),
    "mockserver.pacing": frozenset({"mockserver.clock", "mockserver.engine"}),
    "mockserver.priority": frozenset({"mockserver.clock", "mockserver.errors"}),
    # The protocol as values, then the replies that send it, then the records about them.
    "mockserver.dialect": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.engine.work", "mockserver.faults", "mockserver.plans",
         "promptset"}
    ),
    "mockserver.documents": frozenset(
        {"mockserver.dialect", "mockserver.plans", "mockserver.rng", "promptset"}
    ),
    "mockserver.replies": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.documents",
         "mockserver.engine.chain", "mockserver.engine.work", "mockserver.faults", "mockserver.native",
         "mockserver.pacing", "mockserver.plans", "mockserver.rng", "mockserver.tokencount",
         "mockserver.workers.response_store", "promptset"}
    ),
    "mockserver.record": frozenset(
        {"mockserver.clock", "mockserver.engine", "mockserver.errors", "mockserver.faults", "mockserver.plans"}
    ),
    # One request, one process, the HTTP server around it.
    "mockserver.settings": frozenset(
        {"mockserver.config", "mockserver.config_parts", "mockserver.errors", "mockserver.plans", "mockserver.replies",
         "mockserver.workers.shared_state"}
    ),
    "mockserver.entries": frozenset(
        {"mockserver.clock", "mockserver.dialect", "mockserver.faults", "mockserver.plans", "mockserver.record",
         "mockserver.replies", "mockserver.tokencount", "mockserver.workers.response_store"}
    ),
    # What a conversation leaves behind for the requests that continue it.
    "mockserver.state": frozenset(
        {"mockserver.config", "mockserver.dialect", "mockserver.entries", "mockserver.faults", "mockserver.plans",
         "mockserver.workers.response_store"}
    ),
    "mockserver.intake": frozenset(
        {"mockserver.clock", "mockserver.combinations", "mockserver.config", "mockserver.dialect", "mockserver.engine",
         "mockserver.entries", "mockserver.errors", "mockserver.faults", "mockserver.pacing", "mockserver.plans",
         "mockserver.record", "mockserver.replies", "mockserver.settings", "mockserver.steps.scaling",
         "mockserver.tokencount", "mockserver.workers.shared_state", "promptset"}
    ),
    # Answers to probes.
    "mockserver.answers": frozenset(
        {"mockserver.dialect", "mockserver.documents", "mockserver.faults", "mockserver.plans", "mockserver.replies",
         "mockserver.rng", "promptset"}
    ),
    "mockserver.generation": frozenset(
        {"mockserver.answers", "mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.documents",
         "mockserver.engine", "mockserver.entries", "mockserver.intake", "mockserver.plans",
         "mockserver.replies", "mockserver.rng", "mockserver.settings", "mockserver.state", "mockserver.tokencount",
         "promptset"}
    ),
    "mockserver.pooling": frozenset(
        {"mockserver.clock", "mockserver.dialect", "mockserver.engine", "mockserver.entries", "mockserver.intake",
         "mockserver.plans", "mockserver.replies", "mockserver.tokencount"}
    ),
    "mockserver.plain": frozenset(
        {"mockserver.answers", "mockserver.dialect", "mockserver.engine", "mockserver.entries", "mockserver.generation",
         "mockserver.intake", "mockserver.plans", "mockserver.replies", "mockserver.settings", "promptset"}
    ),
    "mockserver.worker": frozenset(
        {"mockserver.clock", "mockserver.config", "mockserver.dialect", "mockserver.errors", "mockserver.expect",
         "mockserver.generation", "mockserver.intake", "mockserver.plain", "mockserver.pooling", "mockserver.record",
         "mockserver.replies.sender", "mockserver.replies.wire", "mockserver.settings", "mockserver.workers", "promptset"}
    ),
    "mockserver.http": frozenset(
        {"mockserver.clock", "mockserver.combinations", "mockserver.config", "mockserver.dialect", "mockserver.errors",
         "mockserver.expect", "mockserver.faults", "mockserver.plain.head", "mockserver.plans.latencies",
         "mockserver.priority", "mockserver.record", "mockserver.replies.socket_wire", "mockserver.replies.wire",
         "mockserver.rng", "mockserver.settings", "mockserver.worker", "mockserver.workers", "promptset"}
    ),
    # Entry points.
    "mockserver.cli": frozenset(
        {"mockserver.config", "mockserver.config_parts",
         "mockserver.errors", "mockserver.faults", "mockserver.http.server", "mockserver.native", "mockserver.presets",
         "promptset.closed_pipe", "promptset.completion", "promptset.dashed_values", "promptset.help_text"}
    ),
    "mockserver.__main__": frozenset({"mockserver.cli"}),
    "mockserver.child": frozenset({"mockserver.cli", "mockserver.workers.processes"}),
    "mockserver.api": frozenset({"mockserver.clock", "mockserver.errors", "mockserver.record.assertions"}),
    "mockserver.pytest_plugin": frozenset({"mockserver.api"}),
}  # fmt: skip
