"""The content of pages, as data. Every builder is a pure function of a summary, a certificate or another result.

document.py           the model: a document, its sections and blocks
run_document.py       the document of a run; first_screen.py its beginning
details.py            the facts of a run; those about tokens, jobs and the server have their own files
remarks.py            sentences about a run; calibration_words.py, comparison.py and sweep_words.py for other results
charts.py             a chart as data
run_charts.py         the charts of a run: time_charts.py, distribution_charts.py, request_charts.py
period_data.py        the data from which a page computes the numbers of a period; packing.py writes histograms as text
request_tables.py     the slowest and the failed requests
configuration.py      the settings that differ from the defaults, and how to repeat the run
other_tools.py        the table of numbers that other tools would print
formatting.py         how numbers are written
"""
