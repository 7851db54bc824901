"""Sessions of agents, drawn from a recipe: `recipe` says what from, `plan` draws the lengths and the graph, `made` makes the
texts."""
