"""Results in, pages out. Every renderer is a pure function of a summary, a certificate or a sweep.

text.py               tables for a terminal; certificate_text.py and metamorphic_table.py for calibrations
html.py               the page of a run; certificate_page.py and sweep_page.py those of calibrations
page.py               what all pages share; template/ has the HTML, the style sheet and the script
charts.py             a chart as data; plot.py draws it, heat_map.py one of its panels
run_charts.py         the charts of a run: time_charts.py, distribution_charts.py, request_charts.py; certificate_charts.py
period_data.py        what the page computes the numbers of a period from; packing.py writes histograms as text
details.py            the tables beside the latencies; token_details.py those of tokens, jobs.py those of jobs
remarks.py            what the terminal, the page and Markdown say in the same words
request_tables.py     the slowest and the failed requests
configuration.py      the settings that differ from the defaults, and what starts the run again
metric_table.py       the numbers as CSV and Markdown
other_tools.py        the table of what other tools would print
formatting.py         how numbers are written

summary.schema.json and certificate.schema.json say what a summary and a certificate hold.
"""
