"""What the server said of itself beside a load: server.jsonl in, the `server` block of summary.json out. No I/O, no clock.

exposition.py      a page of Prometheus' text format -> samples
scrapes.py         samples <-> the lines of server.jsonl, which hold what has changed
roles.py           what a sample can be about: requests that run, that wait, the KV cache, TTFT ...
servers/           one table a server: which of its samples has which role
role_series.py     the samples of a role over time: levels, counters and histograms between two instants
run_window.py      the stretch of the run that the numbers are of
client_totals.py   what the client counted, for the same requests
reconciliation.py  both accounts beside each other, and what explains the difference
block.py           all of that, as summary.json holds it, with plain sentences on what limited the server
by_name.py         any sample by its own name, for charts that somebody asks for
gpus/, gpu_block.py  the same of GPUs: their tables, energy and cost
"""
