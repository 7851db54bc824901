"""Renderers: each is a pure function of a document of bench/documents/.

text.py               a document for a terminal
html.py               a document as a page; page.py adds style sheet and script to a template; template/ has all three
markdown.py           a document for a ticket, a pull request, a job summary
plot.py               draws a chart as SVG; heat_map.py one of its panels
metric_table.py       the numbers of a run as CSV

summary.schema.json and certificate.schema.json define the content of a summary and a certificate.
"""
