"""Results in, pages out: every renderer is a pure function of a summary (summary.schema.json says what is in one).

text.py     tables for a terminal
html.py     one file without a network, from template/
charts.py   the nine distributions, built once, as data; plot.py draws them
figures.py  how numbers are written
"""
