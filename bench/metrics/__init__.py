"""Records in, numbers out: every number of a result is computed here, from records and samples alone.

per_request.py   one pure function a metric
catalog.py       the metrics, one line each
columns.py       the few numbers that are kept of each request
tokens.py        gaps between tokens, in mergeable histograms, and the sample of whole requests behind their intervals
quantile.py, histogram.py, intervals.py   quantiles, exact and from a histogram, and how sure each is
window.py        the steady part of a run
series.py        the run over time, and the distributions that a report draws
instrument.py    what the client knows of itself
objectives.py    service level objectives and goodput
summary.py       all of it: Summary.add(record), Summary.close()
"""
