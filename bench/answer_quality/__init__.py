"""The command quality: do the answers hold under load? docs/quality.md

options   its own flags, and the configurations of its three runs
measure   the series: alone, loaded, back alone; then the comparison
stored    writes and reads quality.json
"""
