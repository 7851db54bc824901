"""The files of a run: its directory and its contents, except the records (bench/records/) and the manifest.

run_directory   the directory, written so that no measurement is ever lost
record_blocks   many lines of requests.jsonl at once, as arrays
load_change     a line of changes.jsonl
run_state       the state of a run
shape           whether a value from a file matches a type
"""
