"""What this machine can measure before it becomes the bottleneck itself.

ladder   pure: loads that rise step by step, when a step no longer holds, and what gave way first
source   a server that costs next to nothing: precomputed bytes from bare sockets; a process of its own
servers  starts that source or our mock, and says how much of a processor it used
measure  climbs the ladders with `bench.run`

table    what was found, for a terminal
"""
