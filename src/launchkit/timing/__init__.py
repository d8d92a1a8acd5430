"""How long requests take, by method and route template, and `/metrics`."""
