"""What the server is asked beside the load: the probe before it, small GETs, and its counters of the prefix cache."""
