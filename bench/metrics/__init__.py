"""Records in, numbers out: every number of a result is computed here, from records and samples alone.

per_request.py   one pure function a metric
catalog.py       the metrics, one line each
objectives.py    service level objectives, and which requests met them

What is kept while records come in, in bounded memory:
columns.py       a few numbers of each request
tokens.py        gaps between tokens, and the sample of whole requests behind their intervals
arrivals.py      tokens and bytes over time
tally.py         what is only counted; load.py: what was in flight; instrument.py: what the client knows of itself

jobs.py          the steps of each job of a session, and what it is; cache_plan.py: what a prefix cache was planned to have

What is made of it in the end:
quantile.py, histogram.py   quantiles, exact and from a histogram
sureness.py      how sure each number is, and on how many independent values it rests
window.py        the steady part of a run
scope.py         the numbers of the whole run, and of its steady window
job_numbers.py   the numbers of jobs; run_numbers.py: any number of a run by the name that objectives use
series.py        the run over time, and the distributions that a report draws
summary.py       all of it: Summary.add(record), Summary.close()
"""
