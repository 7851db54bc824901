"""Who may import whom in bench: a part of architecture_rules.py."""

from __future__ import annotations

BENCH: dict[str, frozenset[str]] = {
    # Values, and modules on which everything builds:
    "bench": frozenset(
        {"bench.answer_quality.measure", "bench.api", "bench.lazy_exports", "bench.load_search.search_result",
         "bench.load_sweep.measure", "bench.observer", "bench.tuning.measure"}
    ),
    "bench.lazy_exports": frozenset(),
    "bench.process": frozenset(),
    "bench.process.child_process": frozenset({"bench.clock", "bench.process.interpreter"}),
    # The content of pages, as data: from results only.
    "bench.documents.checks_document": frozenset({"bench.accuracy.metamorphic", "bench.documents"}),
    "bench.documents.calibration_sweep_document": frozenset(
        {"bench.accuracy.sweep", "bench.documents", "bench.metrics.catalog"}
    ),
    "bench.documents": frozenset(
        {"bench.metrics.bounds", "bench.metrics.catalog", "bench.metrics.chosen_requests", "bench.metrics.page_data",
         "bench.metrics.run_numbers", "bench.metrics.step_histograms", "bench.verdict.advice", "bench.verdict.headline"}
    ),
    # Types only: every module that makes, writes or reads a result uses them.
    "bench.results": frozenset({"bench.records"}),
    "bench.errors": frozenset(),
    "bench.process.interpreter": frozenset(),
    "bench.process.beside": frozenset({"bench.process.interpreter"}),
    "bench.clock": frozenset(),
    # The compiled core: a stub declares its content.
    "bench.native": frozenset({"bench.native._core", "promptset.compiled"}),
    "bench.rng": frozenset(),
    "bench.traffic": frozenset(),
    "bench.traffic.shares": frozenset({"bench.rng"}),
    "bench.traffic.models": frozenset({"bench.traffic.shares"}),
    "bench.traffic.classes": frozenset(
        {"bench.rng", "bench.secrets", "bench.traffic.shares", "promptset.loaders.own",
         "promptset.whole_file"}
    ),
    "bench.traffic.cancel": frozenset({"bench.rng", "promptset.distributions"}),
    "bench.secrets": frozenset(),
    "bench.proxy": frozenset(),
    "bench.stores": frozenset({"bench.errors", "bench.load_test", "bench.machine.machine_cache"}),
    "bench.trust": frozenset(),
    "bench.loads": frozenset(),
    "bench.run_files": frozenset(),
    "bench.run_files.shape": frozenset({"bench.errors", "promptset.whole_file"}),
    "bench.run_files.load_change": frozenset(),
    "bench.run_files.run_state": frozenset(),
    "bench.run_files.writable": frozenset({"bench.errors"}),
    "bench.run_files.span": frozenset({"bench.records"}),
    "bench.records": frozenset({"bench.errors"}),
    "bench.workload": frozenset({"promptset.answers", "promptset.media", "promptset.samples"}),
    "bench.workload.kept_messages": frozenset(),
    "bench.workload.mid_session": frozenset({"bench.rng", "promptset"}),
    "bench.workload.stock": frozenset(),
    "bench.workload.tracing": frozenset(),
    "bench.workload.turns": frozenset({"bench.rng", "bench.workload", "promptset"}),
    "bench.schedule": frozenset({"bench.rng"}),
    # Stages: each knows only its input and output values.
    "bench.endpoints.definition": frozenset({"bench.endpoints", "promptset.header_values", "promptset.whole_file"}),
    "bench.endpoints": frozenset(
        {"bench.native", "bench.records", "bench.workload", "promptset.answers", "promptset.audio", "promptset.samples"}
    ),
    "bench.transport": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.native", "bench.proxy", "bench.records",
         "bench.secrets", "bench.trust", "bench.workload", "promptset.answers", "promptset.samples"}
    ),
    "bench.sources": frozenset({"bench.traffic.shares", "bench.workload", "promptset"}),
    "bench.dispatch": frozenset({"bench.clock", "bench.records", "bench.transport.interface", "bench.workload"}),
    "bench.modes": frozenset(
        {"bench.clock", "bench.dispatch", "bench.endpoints", "bench.errors", "bench.rng", "bench.schedule",
         "bench.sources", "bench.traffic.classes", "bench.workload", "promptset"}
    ),
    "bench.metrics": frozenset({"bench.errors", "bench.records", "bench.statistics"}),
    # Answers with known solutions: graded and compared after the load.
    "bench.answers": frozenset(
        {"bench.errors", "bench.records", "bench.run_files.run_directory", "bench.statistics", "promptset"}
    ),
    "bench.answers.graders": frozenset({"promptset"}),
    "bench.answers.traits": frozenset(),
    # Pure functions of plain values, and the decisions of a search that build on them.
    "bench.statistics": frozenset({"promptset.distributions.gamma"}),
    "bench.load_search": frozenset(
        {"bench.errors", "bench.loads", "bench.run_files.shape", "bench.series.lengths", "bench.statistics"}
    ),
    # Built on the decisions: results of visits, files, and the output for users.
    "bench.load_search.visit_result": frozenset(
        {"bench.clock", "bench.errors", "bench.load_search", "bench.metrics", "bench.records", "bench.statistics"}
    ),
    "bench.load_search.options": frozenset(
        {"bench.config.flags", "bench.config.values", "bench.errors", "bench.load_search", "bench.loads"}
    ),
    "bench.load_search.files": frozenset(
        {"bench.config", "bench.errors", "bench.load_search", "bench.run_files.run_directory",
         "bench.run_files.shape", "bench.run_files.writable", "bench.series.files"}
    ),
    "bench.load_search.driver": frozenset({"bench.errors", "bench.load_search", "bench.series.drive"}),
    "bench.load_search.run_visits": frozenset(
        {"bench.answers.checked", "bench.clock", "bench.config", "bench.load_search", "bench.loads", "bench.manifest",
         "bench.series.runs"}
    ),
    "bench.load_search.visit_numbers": frozenset({"bench.load_search", "bench.run_files.run_directory"}),
    "bench.load_search.answer": frozenset(
        {"bench.errors", "bench.load_search", "bench.loads", "bench.documents.formatting"}
    ),
    "bench.load_search.charts": frozenset({"bench.documents", "bench.load_search", "bench.loads", "bench.report"}),
    "bench.load_search.visit_table": frozenset({"bench.documents", "bench.load_search", "bench.report"}),
    "bench.load_search.search_document": frozenset(
        {"bench.documents", "bench.errors", "bench.load_search", "bench.loads"}
    ),
    "bench.load_search.render": frozenset({"bench.documents", "bench.errors", "bench.load_search", "bench.report"}),
    "bench.load_search.search_result": frozenset({"bench.errors", "bench.load_search"}),
    "bench.load_search.whole": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.load_search", "bench.load_test", "bench.loads",
         "bench.machine.identity", "bench.metrics", "bench.secrets", "bench.series.runs"}
    ),
    "bench.load_search.follower": frozenset(
        {"bench.load.live", "bench.load_search", "bench.observer", "bench.terminal"}
    ),
    "bench.load_sweep": frozenset({"bench.errors", "bench.loads", "bench.statistics"}),
    "bench.load_sweep.stored": frozenset({"bench.load_sweep", "bench.run_files.shape"}),
    "bench.load_sweep.options": frozenset({"bench.config", "bench.errors", "bench.load_sweep"}),
    "bench.load_sweep.measure": frozenset(
        {"bench.clock", "bench.config", "bench.documents", "bench.errors", "bench.load_sweep", "bench.loads",
         "bench.report", "bench.run_files.run_directory", "bench.secrets", "bench.series"}
    ),
    "bench.load_sweep.repeats": frozenset(
        {"bench.config", "bench.documents", "bench.errors", "bench.load_sweep", "bench.report", "bench.secrets",
         "bench.series"}
    ),
    "bench.answer_quality": frozenset(
        {"bench.answers", "bench.config", "bench.documents", "bench.errors", "bench.evaluate", "bench.report",
         "bench.run_files.run_directory", "bench.run_files.shape", "bench.secrets", "bench.series", "bench.statistics",
         "promptset.errors"}
    ),
    # The decision of a race uses only the statistics; servers, visits, files and pages surround it.
    "bench.tuning": frozenset({"bench.results.tune", "bench.rng", "bench.statistics"}),
    "bench.tuning.spec": frozenset(
        {"bench.config", "bench.errors", "bench.load_search.whole", "bench.load_sweep.visits", "bench.series.files",
         "bench.tuning", "promptset.whole_file"}
    ),
    "bench.tuning.servers": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.observer", "bench.process.child_process", "bench.readiness",
         "bench.tuning"}
    ),
    "bench.tuning.turns": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.load_search", "bench.load_sweep.points", "bench.loads",
         "bench.observer", "bench.series.runs", "bench.tuning"}
    ),
    "bench.tuning.tune_file": frozenset(
        {"bench.errors", "bench.loads", "bench.report", "bench.run_files.run_directory", "bench.run_files.shape",
         "bench.secrets", "bench.series.files", "bench.tuning"}
    ),
    "bench.tuning.answers": frozenset(
        {"bench.answers", "bench.results.tune", "bench.run_files.run_directory", "bench.statistics", "promptset.probes"}
    ),
    "bench.tuning.measure": frozenset({"bench.errors", "bench.observer", "bench.series", "bench.tuning"}),
    # The server's own metrics: the samples of its pages, and the numbers computed from them.
    "bench.server_metrics": frozenset({"bench.metrics", "bench.records"}),
    "bench.verdict": frozenset(),
    "bench.report": frozenset(
        {"bench.documents", "bench.metrics.bounds", "bench.metrics.catalog", "bench.verdict.headline"}
    ),
    "bench.report.compiled_templates": frozenset({"bench.machine.machine_cache"}),
    "bench.run_files.run_directory": frozenset(
        {"bench.errors", "bench.records", "bench.run_files.load_change",
         "bench.run_files.shape", "bench.run_files.writable"}
    ),
    "bench.damage": frozenset(
        {"bench.config", "bench.errors", "bench.records", "bench.run_files.run_directory", "bench.run_files.shape"}
    ),
    # The truth is computed by code that shares nothing with bench.metrics: a shared mistake would cancel out.
    "bench.accuracy": frozenset({"bench.errors", "bench.records", "bench.run_files.run_directory"}),
    # The effect of chance on a mean is not a true value, so both sides use the same code for intervals.
    "bench.accuracy.closed_form": frozenset({"bench.accuracy.distribution", "bench.statistics"}),
    # Plain values decide which certificate covers which load.
    "bench.accuracy.coverage": frozenset({"bench.accuracy.load_shape", "bench.run_files.shape"}),
    "bench.accuracy.load_shape": frozenset(),
    "bench.accuracy.sweep": frozenset({"bench.errors", "bench.loads"}),
    "bench.accuracy.metamorphic": frozenset({"bench.errors"}),
    # Around the load:
    "bench.machine": frozenset(),
    "bench.machine.machine_cache": frozenset({"bench.errors"}),
    "bench.process.mock_process": frozenset(
        {"bench.errors", "bench.machine.preflight", "bench.process.child_process", "promptset.whole_file"}
    ),
    "bench.notices": frozenset({"bench.clock"}),
    "bench.observer": frozenset({"bench.load.live", "bench.run_files.load_change"}),
    # The interface for other processes: the server of a run, and its clients.
    "bench.control": frozenset(
        {"bench.clock", "bench.errors", "bench.load.load_control", "bench.manifest", "bench.run_files.run_directory",
         "bench.run_files.run_state"}
    ),
    "bench.terminal": frozenset(
        {"bench.load.live", "bench.load.worker_health", "bench.notices", "bench.observer",
         "bench.process.stop_signals"}
    ),
    "bench.machine.preflight": frozenset({"bench.clock", "bench.errors"}),
    "bench.process.priority": frozenset({"bench.clock", "bench.errors", "bench.native"}),
    "bench.machine.identity": frozenset({"bench.machine.cpu_limit", "bench.native"}),
    "bench.target": frozenset(
        {"bench.clock", "bench.endpoints", "bench.errors", "bench.process.companion", "bench.proxy", "bench.records",
         "bench.transport", "bench.trust", "bench.workload", "promptset.samples"}
    ),
    # The process that reads the server's metrics, and its messages: it imports little, so that it starts at once.
    "bench.target.scrape_task": frozenset({"bench.proxy"}),
    "bench.target.gpu_pages": frozenset({"bench.server_metrics.exposition"}),
    "bench.target.page_connection": frozenset({"bench.proxy"}),
    "bench.target.scrape_program": frozenset(
        {"bench.clock", "bench.process.child_process", "bench.process.priority", "bench.proxy", "bench.secrets",
         "bench.server_metrics", "bench.target.gpu_pages", "bench.target.page_connection",
         "bench.target.scrape_task", "bench.trust"}
    ),
    "bench.process.event_loop": frozenset(),
    # The process that exports what the run writes, and the run's side of it.
    "bench.telemetry": frozenset(
        {"bench.clock", "bench.errors", "bench.metrics", "bench.process.child_process", "bench.process.priority",
         "bench.records", "bench.run_files.growing_file", "bench.run_files.run_directory", "bench.secrets",
         "bench.workload.tracing"}
    ),
    "bench.telemetry.task": frozenset(),
    "bench.telemetry.exporting": frozenset(
        {"bench.config", "bench.endpoints.choice", "bench.errors", "bench.machine.identity",
         "bench.process.companion", "bench.telemetry"}
    ),
    "bench.config": frozenset(
        {"bench.accuracy.load_shape", "bench.clock", "bench.endpoints", "bench.errors", "bench.metrics.catalog",
         "bench.metrics.objectives", "bench.metrics.precision", "bench.modes", "bench.schedule", "bench.secrets",
         "bench.sources", "bench.traffic.cancel", "bench.traffic.classes", "bench.traffic.models", "bench.traffic.shares",
         "bench.transport", "bench.verdict", "bench.workload.tracing", "promptset"}
    ),
    "bench.config.flags": frozenset(
        {"bench.config.other_tools", "bench.errors", "bench.secrets", "promptset.dashed_values", "promptset.help_text"}
    ),
    "bench.config.other_tools": frozenset({"bench.secrets"}),
    "bench.config.values": frozenset(
        {"bench.errors", "bench.metrics.objectives", "bench.metrics.precision", "bench.secrets",
         "bench.traffic.cancel", "bench.traffic.models", "promptset"}
    ),
    "bench.config.segments": frozenset({"bench.config.values", "bench.loads", "bench.schedule.segments"}),
    "bench.machine.worker_place": frozenset(),
    "bench.manifest": frozenset(
        {"bench.config", "bench.dispatch.interface", "bench.errors", "bench.machine.worker_place",
         "bench.process.priority", "bench.run_files.run_directory", "bench.run_files.run_state",
         "bench.server_metrics.prefix_cache"}
    ),
    "bench.ceiling": frozenset(
        {"bench.config", "bench.machine.machine_cache", "bench.metrics", "bench.records",
         "promptset.distributions"}
    ),
    # One worker runs the middle part, from the workload to the records; several workers are built from it.
    "bench.load": frozenset(
        {"bench.clock", "bench.config", "bench.dispatch", "bench.endpoints", "bench.errors",
         "bench.machine.machine_cache", "bench.machine.preflight", "bench.machine.worker_place", "bench.metrics",
         "bench.modes", "bench.process.child_process", "bench.process.companion", "bench.process.interpreter",
         "bench.process.priority", "bench.proxy", "bench.records", "bench.run_files.growing_file",
         "bench.run_files.load_change", "bench.run_files.run_directory", "bench.secrets", "bench.sources", "bench.transport",
         "bench.trust", "bench.workload", "promptset"}
    ),
    "bench.load.feed_on_change": frozenset(
        {"bench.clock", "bench.errors", "bench.load", "bench.modes", "bench.workload"}
    ),
    "bench.load.sampling": frozenset({"bench.clock"}),
    "bench.load.live": frozenset(
        {"bench.clock", "bench.load.progress_tally", "bench.load.replies_in_flight", "bench.load.worker_health",
         "bench.metrics", "bench.records",
         "bench.run_files.run_state"}
    ),
    "bench.load.worker_health": frozenset(),
    "bench.load.live_log": frozenset(
        {"bench.load.live", "bench.load.sampling", "bench.load.worker_health", "bench.metrics", "bench.records",
         "bench.run_files.load_change", "bench.run_files.run_directory", "bench.run_files.run_state"}
    ),
    "bench.load.progress_tally": frozenset({"bench.clock", "bench.load.replies_in_flight", "bench.metrics", "bench.records"}),
    "bench.load.replies_in_flight": frozenset({"bench.clock", "bench.records", "bench.transport.interface"}),
    "bench.load.supervision": frozenset(
        {"bench.clock", "bench.load.crew", "bench.load.progress_tally", "bench.load.replies_in_flight", "bench.records"}
    ),
    "bench.scale": frozenset(
        {"bench.clock", "bench.errors", "bench.load", "bench.metrics.objectives", "bench.modes",
         "bench.process.child_process", "bench.process.event_loop", "bench.process.interpreter", "bench.records",
         "bench.run_files.run_directory"}
    ),
    # The same on the nodes of a cluster.
    "bench.scale.cluster": frozenset(
        {"bench.clock", "bench.errors", "bench.load", "bench.machine.identity", "bench.machine.preflight",
         "bench.machine.worker_place", "bench.process.child_process", "bench.process.priority",
         "bench.run_files.growing_file", "bench.run_files.run_directory", "bench.run_files.shape", "bench.scale",
         "bench.secrets", "promptset"}
    ),
    # Modules that combine the stages. Only modules below them in this list import them.
    "bench.run_facts": frozenset(
        {"bench.answers.checked", "bench.clock", "bench.config", "bench.manifest", "bench.metrics", "bench.modes.interface",
         "bench.run_files.run_directory", "bench.schedule"}
    ),
    "bench.evaluate": frozenset({"bench"}),
    "bench.readiness": frozenset(
        {"bench.clock", "bench.config", "bench.endpoints", "bench.errors", "bench.load", "bench.observer",
         "bench.process.event_loop", "bench.proxy", "bench.records", "bench.secrets", "bench.sources", "bench.target",
         "bench.transport.interface", "bench.transport.several", "promptset.samples"}
    ),
    "bench.load_test": frozenset({"bench", "promptset"}),
    "bench.watched_load": frozenset({"bench"}),
    "bench.companions": frozenset({"bench"}),
    "bench.supply": frozenset({"bench", "promptset"}),
    "bench.calibrate": frozenset(
        {"bench.accuracy", "bench.clock", "bench.config", "bench.endpoints", "bench.errors", "bench.evaluate",
         "bench.load_test", "bench.machine.identity", "bench.machine.machine_cache", "bench.manifest",
         "bench.observer", "bench.process.mock_process", "bench.readiness", "bench.report",
         "bench.run_files.run_directory", "bench.run_files.writable", "bench.series"}
    ),
    "bench.limits": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.machine.preflight", "bench.observer",
         "bench.process.mock_process", "bench.series"}
    ),
    # A mock fitted to a server's runs: pure functions of streams, and the code that reads streams from run directories.
    "bench.fit": frozenset(
        {"bench.records", "bench.results.profile", "bench.rng", "bench.statistics.autocorrelation",
         "bench.statistics.steady_state"}
    ),
    "bench.fit.read": frozenset(
        {"bench.damage", "bench.errors", "bench.fit", "bench.manifest", "bench.records", "bench.results.summary",
         "bench.run_files.run_directory", "bench.server_metrics"}
    ),
    # Replicas of a fitted server in virtual time: the mock's engines, as processes.
    "bench.capacity_plan": frozenset(
        {"bench.errors", "bench.fit.replayed", "bench.metrics.objectives", "bench.modes", "bench.rng", "bench.schedule",
         "bench.statistics.paired_shares", "promptset.distributions", "promptset.errors", "promptset.loaders",
         "promptset.samples", "promptset.whole_file"}
    ),
    # Runs in sequence. This package does not know what chooses the next run, or what the runs are for.
    "bench.series": frozenset(),
    "bench.series.drive": frozenset({"bench.errors"}),
    "bench.series.files": frozenset({"bench.clock", "bench.machine.identity", "bench.run_files.run_directory"}),
    "bench.series.runs": frozenset(
        {"bench.clock", "bench.config", "bench.errors", "bench.evaluate", "bench.load_test", "bench.manifest",
         "bench.observer", "bench.readiness", "bench.run_files.run_directory", "bench.run_files.writable",
         "bench.series.files"}
    ),
    "bench.api": frozenset({"bench"}),
    "bench.comparison": frozenset(
        {"bench.config", "bench.damage", "bench.documents", "bench.errors", "bench.evaluate", "bench.loads",
         "bench.manifest", "bench.metrics", "bench.observer", "bench.records", "bench.report",
         "bench.run_files.run_directory", "bench.run_files.shape", "bench.series", "bench.statistics",
         "bench.verdict.finding"}
    ),
    # Results of other load testers: the files of each tool, and a run directory made from them.
    "bench.imports": frozenset({"bench.errors", "bench.records"}),
    "bench.imports.run": frozenset(
        {"bench.config", "bench.errors", "bench.imports", "bench.machine", "bench.manifest",
         "bench.records", "bench.run_files.run_directory", "bench.run_files.run_state"}
    ),
    # Results in the formats of other tools.
    "bench.exports": frozenset(
        {"bench.errors", "bench.metrics.bounds", "bench.run_files.run_directory", "bench.run_files.writable"}
    ),
    "bench.release_gate": frozenset(
        {"bench.comparison", "bench.config.renamed", "bench.config.settings", "bench.errors", "bench.metrics",
         "bench.run_files.shape", "bench.run_files.writable", "bench.statistics", "promptset.whole_file"}
    ),
    # It starts `python -m bench` in its own process, and reads what runs leave behind.
    "bench.console": frozenset(
        {"bench.clock", "bench.config", "bench.control", "bench.endpoints", "bench.errors", "bench.manifest",
         "bench.process.interpreter", "bench.process.mock_process", "bench.process.priority",
         "bench.report.metric_table", "bench.rng", "bench.run_files.run_directory", "bench.run_files.run_state",
         "bench.run_files.shape", "bench.run_files.writable", "bench.secrets", "bench.stores",
         "bench.traffic.classes", "bench.verdict.headline", "bench.verdict.limits", "promptset.errors",
         "promptset.probes.sets", "promptset.recipes", "promptset.whole_file"}
    ),
    # Data sets by name: promptset knows the packages of hubs.
    "bench.console.hubs": frozenset({"bench.console", "promptset.hub", "promptset.probes.hub_set"}),
    # These modules define the settings of a search and a sweep, and how to read their progress.
    "bench.console.kinds": frozenset(
        {"bench.accuracy.sweep", "bench.answer_quality.options", "bench.config", "bench.console.language", "bench.errors",
         "bench.load_search", "bench.load_sweep", "bench.run_files.run_directory"}
    ),
    # A live page has the same charts as its report.
    "bench.console.live_charts": frozenset(
        {"bench.console", "bench.endpoints", "bench.errors", "bench.metrics.objectives", "bench.metrics.page_data",
         "bench.metrics.series", "bench.metrics.step_histograms", "bench.report.page"}
    ),
    "bench.console.report_text": frozenset(
        {"bench.accuracy.sweep", "bench.answer_quality.stored", "bench.console", "bench.documents",
         "bench.load_search", "bench.load_sweep.stored", "bench.report", "bench.run_files.shape", "bench.tuning.tune_file"}
    ),
    "bench.console.series": frozenset(
        {"bench.accuracy.sweep", "bench.answer_quality", "bench.config", "bench.console", "bench.documents",
         "bench.load_search", "bench.load_sweep", "bench.loads", "bench.report",
         "bench.run_files.run_directory", "bench.run_files.run_state",
         "bench.run_files.shape", "bench.series.drive", "bench.tuning.tune_file", "promptset.whole_file"}
    ),
    # The modes define which of them have a load that can be set.
    "bench.console.set_load": frozenset(
        {"bench.config", "bench.console", "bench.control", "bench.errors", "bench.modes"}
    ),
    "bench.agents": frozenset(
        {"bench.clock", "bench.config.addresses", "bench.config.sentences", "bench.console",
         "bench.errors", "bench.metrics.objectives"}
    ),
    "bench.commands": frozenset({"bench", "promptset.cli", "promptset.completion"}),
    "bench.cli": frozenset({"bench", "promptset.closed_pipe"}),
    "bench.__main__": frozenset({"bench.cli"}),
    # Below the drivers: their decisions, and the processes they start.
    "bench.calibrate.remote": frozenset({"bench.errors"}),
    "bench.limits.ladder": frozenset({"bench.series.drive", "bench.verdict"}),
    "bench.limits.result": frozenset({"bench.limits.ladder"}),
    "bench.limits.source": frozenset({"bench.clock"}),
    "bench.limits.limits_document": frozenset({"bench.documents", "bench.limits.ladder", "bench.limits.result"}),
}  # fmt: skip
