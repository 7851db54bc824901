"""Which load a service holds: what to try next, and what is known so far. Decisions only; who drives them sends the load."""
