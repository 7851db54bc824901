"""Workers on the nodes of a Ray cluster (`--cluster`, docs/cluster.md).

On each node an actor starts the same program that a local run starts (`bench/scale/program.py`), and stands between it and
the driver: it passes messages on, and ships what the program writes. So the measuring loop shares no process with Ray.

crew           the driver's side of all workers together: a `Crew`
remote_worker  the driver's side of one worker: what it last said, and its shards on the driver's disk
node_worker    the actor: starts the program, passes messages on; knows nothing of Ray
shipping       a shard on its way: whole lines in bounded pieces, their times on the driver's clock
collect        shards that were left on nodes, put into a run
clock_offset   what one clock says beside another, from pings
environment    what Ray makes on the nodes where asked: nothing secret is in it
ray_cluster    the only file that knows Ray: joining a cluster, placing actors, calling them
"""
