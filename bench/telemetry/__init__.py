"""The exports of a running load: OTLP metrics and spans (`--otlp`), and a Prometheus page (`--metrics-port`).

A separate process (`program.py`) reads the files that the run writes anyway, live.jsonl and the records. So the
measuring loop has no extra work except sending the header `traceparent` of traced requests
(`bench/workload/tracing.py`).

exporting   the run's side of the process
task        the messages between the two
program     the process
declared    every metric, with its names
totals      the metrics so far, from records and lines of live.jsonl
spans       the span of a record
otlp        sends both with the OpenTelemetry SDK (extra `otel`)
page        the metrics as a page for Prometheus
"""
