"""What this machine can measure before it becomes the bottleneck itself.

ladder   pure: loads that rise step by step, when a step no longer holds, and what gave way first
source   a server that costs almost nothing: precomputed bytes from bare sockets, in its own process
measure  starts that source or our mock, and climbs the ladders: a series of runs
result   the measured limits
table    the limits as text for a terminal
"""
