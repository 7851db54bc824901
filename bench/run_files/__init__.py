"""What a run leaves behind: its directory, and what is in it, beside its records (bench/records.py) and its manifest.

run_directory   the directory, written so that nothing measured is ever lost
record_blocks   many lines of requests.jsonl at once, as arrays
load_change     a line of changes.jsonl
run_state       where a run is
shape           whether a value of a file has the shape that its type says
"""
