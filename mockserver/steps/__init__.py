"""Steps of a continuous-batching server: how they vary around their cost, and how many replicas execute them."""
