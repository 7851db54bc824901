"""The command plan: a fitted server in virtual time, behind a router, over a day of traffic.

The engine is the mock's own: `python -m mockserver.simulate`, as processes (`simulators.py`). `traffic.py` has the day,
`fitted.py` the server and its uncertainty, `stretches.py` the simulation of a stretch of an hour, `decide.py` the
conclusions.
"""
