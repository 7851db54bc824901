"""Results in, pages out. Every renderer is a pure function of a summary, a certificate or a sweep.

text.py               tables for a terminal; certificate_text.py and metamorphic_table.py for calibrations
html.py               the page of a run; certificate_page.py and sweep_page.py those of calibrations
page.py               what all pages share; template/ has the HTML, the style sheet and the script
charts.py             charts as data, nine in a report; certificate_charts.py those of a certificate; plot.py draws them
details.py            the tables beside the latencies
other_tools.py        the table of what other tools would print
formatting.py         how numbers are written

summary.schema.json and certificate.schema.json say what a summary and a certificate hold.
"""
