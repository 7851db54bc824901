"""The server's own metrics during a load: server.jsonl in, the `server` block of summary.json out. No I/O, no clock.

exposition.py      a page in Prometheus' text format -> samples
scrapes.py         samples <-> the lines of server.jsonl, which hold only changes
roles.py           the meanings of samples: requests that run, that wait, the KV cache, TTFT ...
servers/           one table per server: which of its samples has which role
role_series.py     the samples of a role over time: levels, counters and histograms between two instants
run_window.py      the stretch of the run that the numbers cover
client_totals.py   the client's counts, for the same requests
reconciliation.py  both counts side by side, and what explains the difference
block.py           all of that in the form of summary.json, with plain sentences on what limited the server
by_name.py         any sample by its own name, for charts on request
gpus/, gpu_block.py  the same for GPUs: their tables, energy and cost
"""
