"""Turns records into numbers: every number of a result is computed here, from records and samples alone.

request_metrics.py   one pure function per metric
catalog.py           the metrics, one line each
objectives.py        service level objectives, and which requests met them

Kept while records come in, in bounded memory:
columns.py       a few numbers of each request
tokens.py        gaps between tokens, and the sample of whole requests behind their intervals
arrivals.py      tokens and bytes over time
tally.py         values that are only counted; load.py: requests in flight; instrument.py: the client's data about itself

jobs.py          the definition of a job, and the steps of each; cache_plan.py: the planned content of a prefix cache

Computed at the end:
quantile.py, histogram.py   quantiles, exact and from a histogram
sureness.py      how certain each number is, and on how many independent values it rests
window.py        the steady part of a run
scope.py         the numbers of the whole run, and of its steady window
job_numbers.py   the numbers of jobs; run_numbers.py: any number of a run by its name in objectives
series.py        the run over time, and the distributions for the report
summary.py       everything: Summary.add(record), Summary.close()
"""
