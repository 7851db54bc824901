"""What pages say, as data. Every builder is a pure function of a summary, a certificate or another result.

document.py           the model: a document, its sections and blocks
run_document.py       the document of a run; first_screen.py its beginning
details.py            the facts of a run; those about tokens, jobs and the server are in files of their own
remarks.py            sentences about a run; calibration_words.py, comparison.py and sweep_words.py those of other results
charts.py             a chart as data
run_charts.py         the charts of a run: time_charts.py, distribution_charts.py, request_charts.py
period_data.py        what a page computes the numbers of a period from; packing.py writes histograms as text
request_tables.py     the slowest and the failed requests
configuration.py      the settings that differ from the defaults, and what starts the run again
other_tools.py        the table of what other tools would print
formatting.py         how numbers are written
"""
