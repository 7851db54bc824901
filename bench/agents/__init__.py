"""The command mcp: what an agent may do with the console's queue, and the protocol for it."""
