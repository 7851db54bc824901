"""Steps of a continuous-batching server: how they vary around their cost."""
