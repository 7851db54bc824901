"""A synthetic inference server whose every latency is chosen in advance and written down when it happens."""
