"""Drives runs against a mock to measure the error of every number. The judgement itself is in bench/accuracy/.

measure      one calibration, a sweep of loads, or the metamorphic checks: starts the mock, runs the load, keeps the result
remote       a mock that runs elsewhere, over HTTP
"""
