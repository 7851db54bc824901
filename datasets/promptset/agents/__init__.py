"""Sessions of agents, drawn from a recipe. `recipe` holds the distributions, `plan` draws the lengths and the graph,
`made` generates the texts."""
