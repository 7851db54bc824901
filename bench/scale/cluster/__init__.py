"""Workers on the nodes of a Ray cluster (`--cluster`, docs/cluster.md).

On each node an actor starts the same program as a local run (`bench/scale/program.py`), and sits between it and the
driver: it passes messages on, and ships what the program writes. So the measuring loop shares no process with Ray.

crew           the driver's side of all workers together: a `Crew`
remote_worker  the driver's side of one worker: its last report, and its shards on the driver's disk
node_worker    the actor: starts the program, passes messages on; does not depend on Ray
shipping       a shard on its way: whole lines in bounded pieces, their times on the driver's clock
collect        adds shards that were left on nodes to a run
clock_offset   the offset between two clocks, from pings
environment    the runtime environment for Ray's nodes, which holds no secrets
ray_cluster    the only file that uses Ray: joining a cluster, placing actors, calling them
"""
