"""What a running load exports: OTLP metrics and spans (`--otlp`), and a Prometheus page (`--metrics-port`).

A process of its own (`program.py`) reads what the run writes down anyway, live.jsonl and the records, so the measuring loop
does nothing in addition but send the header `traceparent` of traced requests (`bench/workload/tracing.py`).

exporting   the process, seen from the run
task        what the two say to each other
program     the process
declared    every metric, by its names
totals      the metrics so far, of records and lines of live.jsonl
spans       a span of a record
otlp        both sent by the OpenTelemetry SDK (extra `otel`)
page        the metrics as a page for Prometheus
"""
