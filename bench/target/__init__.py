"""Requests to the server that are not part of the load: the probe before it, small GETs, and its metrics."""
