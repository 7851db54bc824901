"""Renderers: each is a pure function of a document of bench/documents/.

text.py               a document for a terminal
html.py               a document as a page; page.py puts style sheet and script around a template; template/ has all three
markdown.py           a document for a ticket, a pull request, the summary of a job
plot.py               draws a chart as SVG; heat_map.py one of its panels
metric_table.py       the numbers of a run as CSV

summary.schema.json and certificate.schema.json say what a summary and a certificate hold.
"""
