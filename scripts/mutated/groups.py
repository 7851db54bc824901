"""The areas of the code, and the tests that should notice changes in each."""

from __future__ import annotations

from dataclasses import dataclass

_UNIT, _BENCH, _MOCK, _VIRTUAL = "tests/unit", "tests/unit/bench", "tests/unit/mockserver", "tests/virtual"
_SETS = "datasets/promptset"


@dataclass(frozen=True)
class Group:
    """Patterns of files, and of the tests that cover them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS: dict[str, Group] = {
    "metrics": Group(("bench/metrics/*.py", "bench/metrics/compat/*.py"), (f"{_BENCH}/metrics",)),
    "statistics": Group(("bench/statistics/*.py",), (f"{_BENCH}/statistics",)),
    "search": Group(
        ("bench/load_search/*.py", "bench/series/*.py"),
        (f"{_BENCH}/load_search", f"{_BENCH}/series", f"{_BENCH}/statistics/test_capacity*.py",
         f"{_BENCH}/statistics/test_keeps_up.py", f"{_BENCH}/report/test_series_of_inputs.py"),
    ),
    "sweep": Group(("bench/load_sweep/*.py",), (f"{_BENCH}/load_sweep",)),
    "limits": Group(("bench/limits/*.py",), (f"{_BENCH}/limits", "tests/sockets/test_limits_command.py")),
    "tuning": Group(
        ("bench/tuning/*.py",),
        (f"{_BENCH}/tuning", f"{_BENCH}/test_cli.py", f"{_VIRTUAL}/test_tune*.py", "tests/sockets/test_tune_[mst]*.py"),
    ),
    "imports": Group(
        ("bench/imports/*.py", "bench/exports/*.py"), (f"{_BENCH}/imports", f"{_BENCH}/test_exports.py")
    ),
    "plan": Group(("bench/capacity_plan/*.py",), (f"{_BENCH}/capacity_plan", "tests/sockets/test_plan_command.py")),
    "gate": Group(("bench/release_gate/*.py",), (f"{_BENCH}/release_gate",)),
    "comparison": Group(
        ("bench/comparison/*.py",), (f"{_BENCH}/comparison", f"{_VIRTUAL}/test_comparison_reach.py")
    ),
    "accuracy": Group(("bench/accuracy/*.py",), (f"{_BENCH}/accuracy", f"{_BENCH}/report/test_certificate.py")),
    "answers": Group(("bench/answer_quality/*.py", "bench/answers/*.py"), (f"{_BENCH}/answers", f"{_BENCH}/answer_quality")),
    "verdict": Group(("bench/verdict/*.py",), (f"{_BENCH}/test_verdict*.py", f"{_BENCH}/test_headline.py")),
    "guard": Group(
        ("bench/console/security.py", "bench/console/data_files.py", "bench/console/store.py"),
        (f"{_BENCH}/console",),
    ),
    "console": Group(
        ("bench/console/*.py", "bench/console/api/*.py", "bench/console/pages/*.py"),
        (f"{_BENCH}/console", "tests/sockets/test_console_[ch]*.py", "tests/sockets/test_console_security.py",
         "tests/sockets/test_object_stores.py"),
    ),
    "agents": Group(("bench/agents/*.py",), (f"{_BENCH}/agents",)),
    "server metrics": Group(
        ("bench/server_metrics/*.py", "bench/server_metrics/servers/*.py", "bench/server_metrics/gpus/*.py"),
        (f"{_BENCH}/server_metrics",),
    ),
    "dispatch": Group(
        ("bench/dispatch/*.py", "bench/schedule/*.py"),
        (f"{_VIRTUAL}/test_[abco]*.py", f"{_VIRTUAL}/test_load_changed*.py", f"{_VIRTUAL}/test_mi*.py",
         f"{_VIRTUAL}/test_priority.py", f"{_VIRTUAL}/test_sessions*.py", f"{_VIRTUAL}/test_stop.py",
         f"{_VIRTUAL}/test_w*.py", f"{_BENCH}/test_schedule.py", f"{_BENCH}/test_segments.py",
         f"{_BENCH}/test_changing_rate.py", f"{_BENCH}/dispatch", f"{_BENCH}/modes"),
    ),
    "run files": Group(
        ("bench/run_files/*.py", "bench/records/*.py", "bench/damage.py", "bench/manifest.py"),
        (f"{_BENCH}/run_files", f"{_BENCH}/test_request_record.py", f"{_BENCH}/test_damage.py", f"{_BENCH}/test_manifest.py",
         f"{_BENCH}/test_old_runs.py", f"{_BENCH}/test_request_table.py", f"{_BENCH}/test_output.py",
         f"{_BENCH}/metrics/test_record_tables.py", f"{_BENCH}/test_shards.py", f"{_BENCH}/scale/test_cluster_parts.py",
         f"{_BENCH}/console/test_one_console_a_folder.py"),
    ),
    "report": Group(("bench/report/*.py",), (f"{_BENCH}/report",)),
    "documents": Group(
        ("bench/documents/*.py",),
        (f"{_BENCH}/report", f"{_BENCH}/comparison/test_[ch]*.py", f"{_BENCH}/release_gate/test_*baseline*.py",
         f"{_BENCH}/release_gate/test_gate_*.py", f"{_BENCH}/load_sweep", f"{_BENCH}/accuracy/test_[jm]*.py",
         f"{_BENCH}/accuracy/test_sweep.py", f"{_BENCH}/answers/test_quality_document.py",
         f"{_BENCH}/tuning/test_tune_document.py", f"{_BENCH}/server_metrics/test_prefix_cache.py",
         f"{_BENCH}/metrics/test_media.py", f"{_BENCH}/metrics/test_bounds.py", f"{_BENCH}/metrics/test_objectives.py",
         f"{_BENCH}/load_search/test_answer.py", f"{_BENCH}/load_search/test_search_text.py",
         f"{_BENCH}/capacity_plan/test_searched.py", f"{_BENCH}/test_headline.py", f"{_BENCH}/test_other_tools.py"),
    ),
    "results": Group(
        ("bench/results/*.py",),
        (f"{_BENCH}/results", f"{_BENCH}/answers", f"{_BENCH}/test_written_files.py",
         f"{_BENCH}/metrics/test_server_requests.py", f"{_BENCH}/report/test_schema.py", f"{_BENCH}/report/test_fit_page.py",
         f"{_BENCH}/release_gate/test_baseline_content.py"),
    ),
    "fit": Group(("bench/fit/*.py",), (f"{_BENCH}/fit",)),
    "sessions": Group(
        ("bench/workload/*.py", f"{_SETS}/sessions/*.py", f"{_SETS}/agents/*.py"),
        (f"{_BENCH}/workload", f"{_UNIT}/promptset/test_sess*.py", f"{_UNIT}/promptset/test_record*.py",
         f"{_UNIT}/promptset/test_agents.py", f"{_VIRTUAL}/test_sess*.py", f"{_VIRTUAL}/test_mid_session.py",
         f"{_BENCH}/test_kept_histories.py", f"{_BENCH}/test_turn_place.py"),
    ),
    "endpoints": Group(("bench/endpoints/*.py",), (f"{_BENCH}/endpoints",)),
    "transport": Group(
        tuple(
            f"bench/transport/{name}.py" for name in ("sse", "http1", "chunkwise_reads", "exchange", "unpacking", "head")
        ),
        (f"{_BENCH}/transport", f"{_BENCH}/endpoints"),
    ),
    "connections": Group(
        ("bench/transport/*.py",),
        (f"{_BENCH}/transport", f"{_BENCH}/endpoints", f"{_VIRTUAL}/test_work_queue.py", "tests/sockets/test_transport*.py",
         *(f"tests/sockets/test_{name}.py" for name in (
             "cancelled_requests", "client_certificates", "defects_of_ours", "http_decisions", "overtaken_packets",
             "reply_endings")),
         f"{_VIRTUAL}/test_cancelled.py", f"{_BENCH}/load/test_replies_in_flight.py",
         "tests/sockets/test_wire*.py", "tests/sockets/test_websocket.py", "tests/sockets/test_late_reads.py",
         "tests/sockets/test_proxy.py", f"{_VIRTUAL}/test_several_targets.py", f"{_BENCH}/test_routes.py",
         f"{_BENCH}/test_http_sources.py", f"{_BENCH}/test_keys_and_headers.py"),
    ),
    "load": Group(
        ("bench/load/*.py", "bench/modes/*.py", "bench/sources/*.py", "bench/traffic/*.py"),
        (f"{_BENCH}/load", f"{_BENCH}/modes", f"{_BENCH}/traffic", f"{_VIRTUAL}/test_[bcowm]*.py",
         f"{_VIRTUAL}/test_ses*.py", f"{_BENCH}/test_mix.py", f"{_BENCH}/test_workload.py", f"{_BENCH}/test_input_batches.py",
         f"{_BENCH}/test_*sources.py", f"{_BENCH}/test_probed.py", f"{_BENCH}/test_session_header.py",
         f"{_BENCH}/test_refused_config.py", f"{_BENCH}/test_kept_histories.py",
         f"{_BENCH}/server_metrics/test_prefix_cache.py",
         f"{_BENCH}/test_keys_and_headers.py",
         f"{_UNIT}/promptset/test_images.py", f"{_UNIT}/promptset/test_media.py",
         "tests/sockets/test_feed*.py"),
    ),
    "telemetry": Group(("bench/telemetry/*.py", "bench/workload/tracing.py"), (f"{_BENCH}/telemetry", f"{_BENCH}/workload")),
    "process": Group(
        ("bench/process/*.py", "bench/machine/*.py"),
        (f"{_BENCH}/process", f"{_BENCH}/machine", f"{_UNIT}/test_pl*.py", f"{_VIRTUAL}/test_priority.py"),
    ),
    "cluster": Group(("bench/scale/*.py", "bench/scale/cluster/*.py"), (f"{_BENCH}/scale", f"{_BENCH}/test_shards.py")),
    "configuration": Group(
        ("bench/config/*.py", "bench/config/settings/*.py", "bench/target/*.py"),
        (f"{_BENCH}/test_*.py", f"{_BENCH}/traffic/test_classes.py", f"{_BENCH}/endpoints/test_custom_*.py",
         f"{_VIRTUAL}/test_busy_probe.py", f"{_VIRTUAL}/test_probe_course.py",
         "tests/sockets/test_client_certificates.py", "tests/sockets/test_server_metrics.py"),
    ),
    "commands": Group(
        ("bench/*.py", "bench/api/*.py", "bench/calibrate/*.py", "bench/commands/*.py", "bench/native/*.py"),
        (f"{_BENCH}/test_*.py", f"{_BENCH}/load_sweep", f"{_BENCH}/report", f"{_BENCH}/accuracy",
         f"{_BENCH}/capacity_plan/test_searched.py", f"{_BENCH}/capacity_plan/test_plan_flags.py",
         f"{_BENCH}/comparison/test_pairs.py", f"{_BENCH}/fit/test_fit_replay.py", f"{_BENCH}/fit/test_fit_flags.py",
         f"{_VIRTUAL}/test_virtual_loop.py", f"{_BENCH}/imports/test_imports.py",
         f"{_BENCH}/release_gate/test_few_values.py", f"{_BENCH}/run_files/test_writable.py",
         f"{_BENCH}/load_search/test_search_command.py", f"{_BENCH}/load_search/test_search_api.py",
         f"{_BENCH}/limits/test_limits_document.py", f"{_BENCH}/agents/test_server.py",
         "tests/sockets/test_limits_command.py", "tests/sockets/test_compare_pairs.py",
         "tests/sockets/test_wait_for_server.py", "tests/sockets/test_console_from_a_terminal.py",
         "tests/sockets/test_api.py", "tests/sockets/test_calibrate_command.py", "tests/sockets/test_fit_command.py",
         "tests/sockets/test_live_file.py", "tests/sockets/test_sweep_command.py",
         "tests/sockets/test_quality_command.py", "tests/sockets/test_run_gives_back.py", "tests/sockets/test_set_load.py",
         "tests/sockets/test_clock.py", "tests/sockets/test_console_command.py", "tests/sockets/test_plan_command.py"),
    ),
    "stores": Group(("bench/stores/*.py",), (f"{_BENCH}/test_stores*.py",)),
    "plans": Group(("mockserver/plans/*.py",), (_MOCK,)),
    "engine": Group(("mockserver/engine/*.py",), (_MOCK, f"{_UNIT}/test_batching_model.py")),
    "mock": Group(
        ("mockserver/*.py", "mockserver/[cdhnrsw]*/**/*.py", "mockserver/expect/*.py", "mockserver/faults/*.py",
         "mockserver/plain/*.py"),
        (_MOCK, f"{_VIRTUAL}/test_mock*.py",
         *(f"tests/sockets/test_mock_{name}.py" for name in (
             "admin_here", "any_body", "api", "asgi", "choices", "conversation_cache", "endpoints", "images", "model_names",
             "probes", "rerank", "routes", "sender*", "serves_here", "stored_responses", "tools"))),
    ),
    "exact": Group((f"{_SETS}/exact.py",), (f"{_UNIT}/promptset/test_exact*.py", f"{_UNIT}/promptset/test_sums.py")),
    "prompts": Group(
        (f"{_SETS}/*.py", f"{_SETS}/[dklprt]*/*.py", f"{_SETS}/sharing/*.py"),
        (f"{_UNIT}/promptset", f"{_UNIT}/test_compiled_parts.py", f"{_BENCH}/test_output.py",
         "tests/sockets/test_server_tokens.py"),
    ),
}  # fmt: skip
"""Each file is in at least one group; a part that needs separate attention has its own."""
